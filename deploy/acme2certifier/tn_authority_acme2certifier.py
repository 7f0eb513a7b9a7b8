# SPDX-License-Identifier: Apache-2.0
"""Authority tokens (RFC 9447, RFC 9448) for acme2certifier.

acme2certifier offers `tkauth-01` challenges but cannot check their tokens. This module checks them by running
`tn-authority verify`. It is used in three places, always by its name, so that python loads it only once:

- as the WSGI application (`tn_authority_acme2certifier:application`), instead of acme2certifier's own,
- as `hooks_module` in the section `Hooks`,
- as `handler_module` in the section `CAhandler`, if acme2certifier's openssl handler issues the certificates.

It fails closed: without the application, acme2certifier itself refuses every token; without the hooks, the handler
issues no certificate with a TNAuthList.
"""

import base64
import binascii
import configparser
import json
import os
import sqlite3
import subprocess
import threading
import time
from contextlib import closing
from datetime import datetime, timedelta, timezone

from acme2certifier.acme_srv import challenge as challenge_module
from acme2certifier.acme_srv import order as order_module
from acme2certifier.acme_srv.certificate import Certificate as _Certificate
from acme2certifier.acme_srv.challenge import Challenge as _Challenge
from acme2certifier.acme_srv.challenge_validators import ValidationResult
from acme2certifier.acme_srv.db_handler import DBstore
from acme2certifier.acme_srv.order import Order as _Order
from acme2certifier.acme_srv.version import __version__ as _ACME2CERTIFIER
from acme2certifier.cahandlers import openssl_ca_handler
from cryptography import x509

# The version that this module is written for and tested with. Others may have moved the parts that it uses.
TESTED_WITH = "0.46.3"
# The variable that names the settings file; tn_authority.example.cfg shows all settings.
CONFIG = "TN_AUTHORITY_PLUGIN_CONFIG"
# The variable that permits other versions of acme2certifier.
ANY_VERSION = "TN_AUTHORITY_PLUGIN_ANY_VERSION"

TN_AUTH_LIST = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.26")
UNAUTHORIZED = "urn:ietf:params:acme:error:unauthorized"
CONNECTION = "urn:ietf:params:acme:error:connection"
SERVER_INTERNAL = "urn:ietf:params:acme:error:serverInternal"

# The HTTP status that belongs to each of them in a problem document.
STATUS = {UNAUTHORIZED: 403, CONNECTION: 400, SERVER_INTERNAL: 500}

# The longest token that is checked, in bytes, as in `tn-authority verify`.
MAX_TOKEN = 65536
# The longest identifier, in characters: a token contains it, in base64.
MAX_IDENTIFIER = MAX_TOKEN // 4 * 3
# The longest type of an identifier, in characters.
MAX_TYPE = 64
# How long a single-use token is remembered after it has expired, in seconds: longer than any clock difference.
REMEMBERED = 86400

# What the hook has found about the CSR that this thread is about to sign.
_in_hand = threading.local()


class Refused(Exception):
    """The order is refused, and the client can be told why."""

    def __init__(self, why, kind=UNAUTHORIZED):
        super().__init__(why)
        self.kind = kind


class Broken(Exception):
    """The check could not run, which the operator has to fix."""


class Settings:
    """The settings. They are read again for each token, so that an authority can be added without a restart."""

    def __init__(self):
        path = os.environ.get(CONFIG)
        if not path:
            raise Broken(f"{CONFIG} is not set; it must name the settings file")
        parser = configparser.ConfigParser(interpolation=None)
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
        section = parser["tn-authority"]
        known = {
            "command",
            "timeout",
            "trust",
            "x5u_hosts",
            "x5u_ca",
            "audience",
            "single_use",
            "database",
            "bound_by_token",
        }
        unknown = sorted(set(section) - known)
        if unknown:
            raise Broken(f"unknown settings: {', '.join(unknown)}")
        self.command = section["command"]
        self.timeout = section.getfloat("timeout", fallback=8.0)
        self.trust = section["trust"].split()
        self.x5u_hosts = section.get("x5u_hosts", "").split()
        self.x5u_ca = section.get("x5u_ca", "").split()
        self.audience = section.get("audience")
        self.single_use = section.getboolean("single_use", fallback=False)
        self.database = section["database"]
        self.bound_by_token = section.getboolean("bound_by_token", fallback=True)
        if not self.trust:
            raise Broken("`trust` names no certificate")


class Ledger:
    """Remembers which single-use tokens were used, and what each order was authorized for. Never stores a token."""

    def __init__(self, path):
        self.path = path

    def _open(self):
        connection = sqlite3.connect(self.path, timeout=10, isolation_level=None)
        connection.execute(
            "CREATE TABLE IF NOT EXISTS used (issuer TEXT NOT NULL, jti TEXT NOT NULL, exp INTEGER NOT NULL, "
            "PRIMARY KEY (issuer, jti))"
        )
        connection.execute(
            "CREATE TABLE IF NOT EXISTS authorized (order_name TEXT PRIMARY KEY, tkvalue TEXT NOT NULL, "
            "ca INTEGER NOT NULL, exp INTEGER NOT NULL)"
        )
        return connection

    def authorize(self, order_name, tkvalue, claims, single_use):
        """Records that an order can be finalized. With `single_use`, the same transaction marks the token as used."""
        expires, authorized = int(claims["exp"]), claims["atc"]
        with closing(self._open()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                forgotten = int(time.time()) - REMEMBERED
                connection.execute("DELETE FROM used WHERE exp < ?", (forgotten,))
                connection.execute("DELETE FROM authorized WHERE exp < ?", (forgotten,))
                if single_use:
                    connection.execute(
                        "INSERT INTO used (issuer, jti, exp) VALUES (?, ?, ?)",
                        (str(claims.get("iss", "")), claims["jti"], expires),
                    )
                connection.execute(
                    "INSERT OR REPLACE INTO authorized (order_name, tkvalue, ca, exp) VALUES (?, ?, ?, ?)",
                    (order_name, tkvalue, int(bool(authorized.get("ca", False))), expires),
                )
                connection.execute("COMMIT")
            except sqlite3.IntegrityError as error:
                connection.execute("ROLLBACK")
                raise Refused("the token was used before, and this CA accepts each token only once (`jti`)") from error

    def authorized(self, order_name):
        """What an order was authorized for: tkvalue, ca and the expiry of the token; or None."""
        with closing(self._open()) as connection:
            return connection.execute(
                "SELECT tkvalue, ca, exp FROM authorized WHERE order_name = ?", (order_name,)
            ).fetchone()


def verify(settings, token, fingerprint, identifier):
    """Checks the token (RFC 9448 section 6, steps 1 to 8) and returns its claims."""
    check_list(settings, identifier)
    command = ["verify", "--json", "--fingerprint", fingerprint, "--identifier", identifier]
    for file in settings.trust:
        command += ["--trust", file]
    for host in settings.x5u_hosts:
        command += ["--x5u-host", host]
    for file in settings.x5u_ca:
        command += ["--x5u-ca", file]
    if settings.audience:
        command += ["--audience", settings.audience]
    # The token goes to stdin, because every user of the machine can see arguments.
    accepted, report = run(settings, command + ["-"], token)
    if accepted and report["accepted"] is True:
        return report["claims"]
    failed = [step for step in report["steps"] if step["outcome"] == "failed"]
    why = "; ".join(f"step {step['number']}, {step['title']}: {step['detail']}" for step in failed)
    raise Refused(why, CONNECTION if report["problem"] == CONNECTION else UNAUTHORIZED)


def check_list(settings, identifier):
    """Refuses an identifier that is not a TNAuthList (RFC 8226 section 9) in base64url."""
    decoded(identifier)
    _, report = run(settings, ["tn-auth-list", "decode", "-"], identifier + "\n")
    if "entries" not in report:
        raise Refused("the identifier is not a TNAuthList (RFC 8226 section 9)")


def run(settings, arguments, text):
    """Runs `tn-authority` with this text as its input. Returns whether it exited with 0, and what it printed."""
    command = f"`{settings.command} {arguments[0]}`"
    try:
        done = subprocess.run(
            [settings.command, *arguments],
            input=text.encode("utf-8", "replace"),
            capture_output=True,
            timeout=settings.timeout,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Broken(f"{command}: {type(error).__name__}") from error
    if done.returncode not in (0, 1):
        raise Broken(f"{command} exited with {done.returncode}: {done.stderr[-500:]!r}")
    return done.returncode == 0, json.loads(done.stdout)


def fingerprint_of(thumbprint):
    """The fingerprint (RFC 9448 section 5.4) from a thumbprint (RFC 7638)."""
    if isinstance(thumbprint, bytes):
        thumbprint = thumbprint.decode("ascii")
    digest = decoded(thumbprint)
    return "SHA256 " + ":".join(f"{byte:02X}" for byte in digest)


def decoded(text):
    """Reads base64url without padding, in its canonical form."""
    if not text or len(text) > MAX_IDENTIFIER:
        raise Refused(f"the identifier must have 1 to {MAX_IDENTIFIER} characters")
    try:
        value = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused("the identifier is not base64url without padding") from error
    if base64.urlsafe_b64encode(value).rstrip(b"=").decode("ascii") != text:
        raise Refused("the identifier is not base64url without padding")
    return value


def check_identifiers(payload):
    """Refuses an order with identifiers that acme2certifier or this module could not handle."""
    identifiers = payload.get("identifiers") if isinstance(payload, dict) else None
    if not isinstance(identifiers, list) or not identifiers:
        raise Refused("`identifiers` must be a list of objects")
    for each in identifiers:
        if not isinstance(each, dict):
            raise Refused("`identifiers` must be a list of objects")
        kind, value = each.get("type"), each.get("value")
        if not isinstance(kind, str) or not isinstance(value, str):
            raise Refused("`type` and `value` of an identifier must be texts")
        # acme2certifier logs the type of an identifier that it does not support.
        if len(kind) > MAX_TYPE or not kind.isascii() or not kind.isprintable():
            raise Refused(f"`type` of an identifier must be at most {MAX_TYPE} printable ASCII characters")
        if kind.lower() == "tnauthlist":
            decoded(value)


def is_post_as_get(content):
    """Whether the payload of this request (JWS) is empty (RFC 8555 section 6.3); `{}` is not."""
    try:
        return json.loads(content).get("payload") == ""
    except (ValueError, TypeError, AttributeError):
        return False


def answered(payload):
    """The token in an answer: in `tkauth` (RFC 9447), or in `atc` from older clients, but not in both."""
    given = [payload[name] for name in ("tkauth", "atc") if name in payload] if isinstance(payload, dict) else []
    if len(given) == 1 and isinstance(given[0], str) and 0 < len(given[0]) <= MAX_TOKEN:
        return given[0]
    return None


def problem(kind, detail):
    """Why a validation failed, as an ACME problem (RFC 8555 section 6.7)."""
    return {"type": kind, "status": STATUS[kind], "detail": detail}


class Order(_Order):
    """Refuses malformed identifiers before there is an order, and ends an order whose CSR is refused."""

    def create_order(self, payload, account_name):
        """Makes an order with these identifiers, if they are well-formed."""
        try:
            check_identifiers(payload)
        except Refused as why:
            return self.error_msg_dic["malformed"], str(why), None, {}, None
        return super().create_order(payload, account_name)

    def _finalize_csr(self, order_name, payload, header=None):
        code, *others = super()._finalize_csr(order_name, payload, header)
        # acme2certifier leaves a refused order in `processing`, and clients wait for it.
        order = self._get_order_info(order_name) or {}
        if code != 200 and "tnauthlist" in order.get("identifiers", "").lower():
            self.repository.order_update({"name": order_name, "status": "invalid"})
        return (code, *others)


class Challenge(_Challenge):
    """Checks `tkauth-01` challenges; leaves all other types to acme2certifier."""

    _answer = None
    _reason = None
    _is_read = False

    def process_challenge_request(self, content):
        """Answers a request for the URL of a challenge."""
        self._is_read = is_post_as_get(content)
        return super().process_challenge_request(content)

    def _handle_challenge_validation_request(self, _code, payload, protected, challenge_name, challenge_info):
        # acme2certifier takes a POST-as-GET (RFC 8555 section 7.5.1) for an answer, and an answer to a challenge that
        # is invalid for a second chance, although that state is final (section 7.1.6).
        if challenge_info.type == "tkauth-01" and (self._is_read or challenge_info.status != "pending"):
            return self._create_success_response(self._build_challenge_validation_response(challenge_info, protected))
        return super()._handle_challenge_validation_request(
            _code, payload, protected, challenge_name, challenge_info
        )

    def _build_challenge_validation_response(self, challenge_info, protected):
        response = super()._build_challenge_validation_response(challenge_info, protected)
        if challenge_info.type == "tkauth-01":
            response["data"]["tkauth-type"] = "atc"
        return response

    def _validate_tnauthlist_payload(self, payload, challenge_info):
        if challenge_info.type == "tkauth-01" and answered(payload) is None:
            return self._create_error_response(
                400,
                self.err_msg_dic["malformed"],
                "the answer must have an authority token in either `tkauth` or `atc`",
            )
        return {"code": 200}

    def _perform_challenge_validation(self, challenge_name, payload):
        # acme2certifier makes one object per request, so the answer belongs to this request.
        self._answer = answered(payload)
        return super()._perform_challenge_validation(challenge_name, payload)

    def _execute_challenge_validation(self, challenge_name):
        details = self._get_challenge_validation_details(challenge_name)
        if not details or details["type"] != "tkauth-01":
            return super()._execute_challenge_validation(challenge_name)
        try:
            self._check_token(challenge_name, details)
        except Refused as why:
            if why.kind == CONNECTION:
                # The client chose the URL, so it is none of our faults; but the authority may be down.
                self.logger.warning("an authority token is refused: %s", why)
            self._reason = problem(why.kind, f"the authority token is refused: {why}")
        except Exception as error:  # pylint: disable=broad-except
            self.logger.critical("the authority token could not be checked: %s: %s", type(error).__name__, error)
            self._reason = problem(SERVER_INTERNAL, "the authority token could not be checked")
        if self._reason is None:
            return ValidationResult(success=True, invalid=False)
        return ValidationResult(success=False, invalid=True, error_message=json.dumps(self._reason))

    def _append_challenge_validation_error(self, response_dic, challenge_info):
        super()._append_challenge_validation_error(response_dic, challenge_info)
        # acme2certifier's own database handler (unlike that for Django) loses the reason.
        if self._reason is not None:
            response_dic["data"].setdefault("error", self._reason)

    def _check_token(self, challenge_name, details):
        if details["authorization_type"].lower() != "tnauthlist":
            raise Refused("the identifier is not a TNAuthList")
        if self._answer is None:
            raise Refused("the answer has no authority token")
        order = self.dbstore.challenge_lookup("name", challenge_name, ["authorization__order__name"])
        settings, identifier = Settings(), details["authorization_value"]
        claims = verify(settings, self._answer, fingerprint_of(details["jwk_thumbprint"]), identifier)
        ledger = Ledger(settings.database)
        ledger.authorize(order["authorization__order__name"], identifier, claims, settings.single_use)


class Certificate(_Certificate):
    """Converts identifiers to padded base64, since acme2certifier compares them with that as text."""

    def _check_tnauth_identifier_match(self, identifier, tnauthlist):
        try:
            value = base64.b64encode(decoded(identifier["value"])).decode("ascii")
        except Refused:
            return False
        return super()._check_tnauth_identifier_match({**identifier, "value": value}, tnauthlist)


class Hooks:
    """Called before and after a certificate is issued."""

    def __init__(self, logger):
        self.logger = logger

    def pre_hook(self, _certificate_name, order_name, csr):
        """Refuses a CSR that differs from what the authority token of its order authorizes."""
        _in_hand.found = None
        order = DBstore(False, self.logger).order_lookup("name", order_name, ["identifiers"])
        identifiers = json.loads(order["identifiers"])
        lists = [each["value"] for each in identifiers if each["type"].lower() == "tnauthlist"]
        request = read_csr(csr)
        found = extensions_of(request, TN_AUTH_LIST)
        if not lists:
            if found:
                raise Refused("the CSR has a TNAuthList, but the order has none")
            return
        if len(identifiers) != 1:
            raise Refused("an order with a TNAuthList must have no other identifier at this CA")
        settings = Settings()
        authorized = Ledger(settings.database).authorized(order_name)
        if authorized is None:
            raise Refused("no authority token was checked for this order")
        tkvalue, ca, expires = authorized
        if expires <= time.time():
            raise Refused("the authority token has expired since it was checked")
        if tkvalue != lists[0] or [decoded(tkvalue)] != [each.value.value for each in found]:
            raise Refused("the TNAuthList of the CSR differs from that of the order")
        if bool(ca) != asks_for_ca(request):
            raise Refused(
                f"`ca` of the authority token is {str(bool(ca)).lower()}, "
                f"but `cA` of the CSR is {str(asks_for_ca(request)).lower()} (RFC 9448 section 6, step 9)"
            )
        until = expires if settings.bound_by_token else None
        _in_hand.found = (csr, decoded(tkvalue), bool(ca), until)

    def post_hook(self, _certificate_name, _order_name, _csr, _error):
        """Called after each attempt, successful or not."""
        _in_hand.found = None

    def success_hook(self, *_ignored):
        """Called after each certificate."""


def read_csr(csr):
    """Reads a CSR in the encoding of ACME: base64url of the DER."""
    text = csr if isinstance(csr, str) else csr.decode("ascii")
    return x509.load_der_x509_csr(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def extensions_of(request, oid):
    """The extensions with this OID; cryptography itself refuses duplicates."""
    return [each for each in request.extensions if each.oid == oid]


def asks_for_ca(request):
    """`cA` of the CSR's basicConstraints; false if it has none."""
    return any(each.value.ca for each in extensions_of(request, x509.ExtensionOID.BASIC_CONSTRAINTS))


class CAhandler(openssl_ca_handler.CAhandler):
    """acme2certifier's openssl handler, extended to put the TNAuthList into the certificate."""

    _found = None

    def enroll(self, csr):
        """Issues a certificate, with the TNAuthList that the hook has approved for this CSR."""
        found, _in_hand.found = getattr(_in_hand, "found", None), None
        try:
            self._found = found if found and found[0] == csr else None
            if self._found is None and extensions_of(read_csr(csr), TN_AUTH_LIST):
                self.logger.critical("a CSR with a TNAuthList did not pass the hook; is `hooks_module` set?")
                return (SERVER_INTERNAL, None, None, None)
            return super().enroll(csr)
        finally:
            self._found = None

    def _certexpiry_date_set(self):
        usual = super()._certexpiry_date_set()
        if self._found is None or self._found[3] is None:
            return usual
        if usual.tzinfo is None:
            usual = usual.replace(tzinfo=timezone.utc)
        # RFC 9447 section 7: no certificate outlives its token. notAfter is inclusive, `exp` is not.
        last = datetime.fromtimestamp(self._found[3], timezone.utc) - timedelta(seconds=1)
        return min(usual, last)

    def _cert_extension_apply(self, builder, ca_cert, req):
        if self._found is None:
            return super()._cert_extension_apply(builder, ca_cert, req)
        _, tn_auth_list, ca, _ = self._found
        usage = {
            "digital_signature": not ca,
            "key_cert_sign": ca,
            "crl_sign": ca,
            "content_commitment": False,
            "key_encipherment": False,
            "data_encipherment": False,
            "key_agreement": False,
            "encipher_only": False,
            "decipher_only": False,
        }
        for extension, critical in (
            (x509.BasicConstraints(ca=ca, path_length=None), True),
            (x509.KeyUsage(**usage), True),
            (x509.SubjectKeyIdentifier.from_public_key(req.public_key()), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_cert.public_key()), False),
            (x509.UnrecognizedExtension(TN_AUTH_LIST, tn_auth_list), False),
        ):
            builder = builder.add_extension(extension, critical=critical)
        return builder


def _start():
    """Replaces acme2certifier's classes by those of this module, and returns its WSGI application."""
    if _ACME2CERTIFIER != TESTED_WITH and not os.environ.get(ANY_VERSION):
        raise Broken(
            f"acme2certifier is version {_ACME2CERTIFIER}, but this module is tested with {TESTED_WITH}; "
            f"set {ANY_VERSION}=1 once you have tried it"
        )
    if os.environ.get("ACME2CERTIFIER_I_KNOW_THE_RISK"):
        raise Broken("unset ACME2CERTIFIER_I_KNOW_THE_RISK, which makes acme2certifier accept unchecked tokens")
    # Invalid settings fail here, at start-up, rather than at the first order.
    settings = Settings()
    Ledger(settings.database).authorized("")
    challenge_module.Challenge = Challenge
    order_module.Certificate = Certificate
    from acme2certifier.share import acme2certifier_wsgi  # pylint: disable=import-outside-toplevel

    acme2certifier_wsgi.Challenge = Challenge
    acme2certifier_wsgi.Certificate = Certificate
    acme2certifier_wsgi.Order = Order
    return acme2certifier_wsgi.application


_application = None
_starting = threading.Lock()


def application(environ, start_response):
    """The WSGI application."""
    return start()(environ, start_response)


def start():
    """Starts acme2certifier once. A server of your own should call this at start-up, to fail early."""
    global _application  # pylint: disable=global-statement
    with _starting:
        if _application is None:
            _application = _start()
    return _application
