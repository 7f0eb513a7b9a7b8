"""Holds a running service against its OpenAPI document, with every role: no 5xx, no status that is not documented, and
answers of the documented media types and forms.

    tests/schemathesis/check.py EXECUTABLE

Starts the service by `demo --keep`, in a folder of its own; makes a key for each role and one of each thing; and lets
schemathesis ask. What it asks is the same each time. `tests/run schemathesis` runs it, in a virtual environment with the
versions of requirements.txt.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
]
# Those who may do much are asked everything that the document lets one ask.
THOROUGH, QUICK = "examples,coverage,fuzzing", "examples,fuzzing"
EXAMPLES_EACH = 5
# How many ask at the same time, and how long one may take.
AT_ONCE = 2
LONGEST = 900

TOKEN = {
    "tktype": "TNAuthList",
    "tkvalue": "MA-iDRYLMTIxMjU1NTEwMDE",
    "ca": False,
    "fingerprint": "SHA256 " + ":".join(["5E"] * 32),
}
ONE = {"start": "+12125551001", "count": 1}
# Bodies that are fine: what is generated seldom is.
BODIES = {
    "issue_token": TOKEN,
    "issue_spc_token": {"atc": TOKEN},
    "issue_tokens": {"requests": [{"account": "acme", **TOKEN}, {"account": "shop", **TOKEN}]},
    "explain": {"account": "acme", "numbers": [ONE, {"block": "1.212.555.2XXX"}]},
    "put_account": {"name": "Acme", "parent": None},
    "set_lifetime": {"mode": "grant-horizon"},
    "create_delegation": {"start": "+12125551009", "count": 1, "lend_on": True},
    "create_allocation": {"block": "1.646.555.1XXX", "spc": "1234", "basis": "block"},
    "create_exclusion": {"start": "+12125551008", "count": 1, "reason": "reserved"},
    "create_disconnect": {"start": "+12125551007", "count": 1, "class": "residential"},
    "withdraw_grant": {"reason": "no longer needed"},
    "create_webhook": {"url": "https://hooks.example.com/told", "account": "acme"},
    "renew_token": TOKEN,
    "replay_webhook": {"after": 0},
    "create_api_key": {"role": "account", "accounts": ["acme"], "allow_from": ["192.0.2.0/24"]},
    "rotate_api_key": {"overlap": 60},
    "expire_api_key": {"at": "2099-01-01T00:00:00Z"},
    "start_control_proofs": {"numbers": ["+12125551001"], "method": "sms"},
    "confirm_control_proof": {"code": "123456"},
    "distrust_signer": {"reason": "stolen"},
}


class Service:
    """A service with its data in a folder that goes with it."""

    def __init__(self, executable):
        self.executable = executable
        self.dir = Path(tempfile.mkdtemp(prefix="tn-authority-schemathesis."))
        home, self.log = self.dir / "demo", open(self.dir / "log", "w")
        # Imports are asked for faster than they are done; the queue is no matter of this test.
        env = {
            **os.environ,
            "TN_AUTHORITY__IMPORTS__QUEUE": "1000",
            "TN_AUTHORITY__FACADE__ENABLED": "true",
            "TN_AUTHORITY__FACADE__CRL_URL": "https://crl.example/spc.crl",
            # Nothing listens there, so no code is ever sent.
            "TN_AUTHORITY__CONTROL__GATEWAYS__SMS__KIND": "http",
            "TN_AUTHORITY__CONTROL__GATEWAYS__SMS__METHODS": "sms",
            "TN_AUTHORITY__CONTROL__GATEWAYS__SMS__TARGET": "http://127.0.0.1:9/send?to={number}&text={text}",
            "RUST_LOG": "warn",
        }
        self.process = subprocess.Popen(
            [executable, "demo", "--keep", "--dir", home], env=env, stdout=self.log, stderr=self.log
        )
        self.config, variables = home / "tn-authority.toml", home / "env"
        until = time.monotonic() + 120
        while not variables.exists():
            if self.process.poll() is not None or time.monotonic() > until:
                raise SystemExit("the service did not start:\n" + (self.dir / "log").read_text())
            time.sleep(0.1)
        time.sleep(0.1)
        told = dict(re.findall(r"^(\w+)='(.*)'$", variables.read_text(), re.MULTILINE))
        self.url, self.ca, self.admin = told["TNA_URL"], told["TNA_CA"], told["ADMIN_KEY"]

    def key(self, role, *accounts):
        """A key of this role, made by the command that makes one."""
        named = [arg for account in accounts for arg in ("--account", account)]
        command = [self.executable, "--config", self.config, "api-key", "create", "--role", role, *named]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def access_token(self, key):
        """What the facade gives for a key; it stands in `Authorization` without a scheme."""
        login = {"userId": key.split("_")[1], "password": key}
        return self.call("POST", "/api/v1/auth/login", login)["accessToken"]

    def revoked_key(self):
        key = self.key("admin")
        self.call("POST", f"/v1/api-keys/{key.split('_')[1]}/revoke")
        return key

    def call(self, method, path, body=None, **more):
        """An answer to the admin, which must be one."""
        headers = {"Authorization": f"Bearer {self.admin}", **more.pop("headers", {})}
        answer = requests.request(
            method, self.url + path, json=body, headers=headers, verify=self.ca, timeout=60, **more
        )
        if not answer.ok:
            raise SystemExit(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)


def one_of_each(service):
    """Makes one of each thing, and says by what each is named in a path."""
    call = service.call
    call("PUT", "/v1/accounts/wholesale", {"name": "Wholesale"})
    call("PUT", "/v1/accounts/shop", {"parent": "wholesale"})
    lent = {"start": "+12125551100", "count": 10, "lend_on": True}
    delegation = call("POST", "/v1/accounts/wholesale/delegations", lent)
    kept = {"start": "+12125551200", "count": 1, "reason": "reserved"}
    exclusion = call("POST", "/v1/exclusions", kept)
    held = {"block": "1.917.555.1XXX", "spc": "1234", "basis": "block"}
    allocation = call("POST", "/v1/allocations", held)
    grant = call("POST", "/at/account/acme/token", TOKEN)
    table = b"start,reason\n+12125551201,aging\n"
    job = call(
        "POST",
        "/v1/imports?format=exclusions&dry_run=true",
        data=table,
        headers={"Content-Type": "text/csv"},
    )
    loans = call("GET", "/v1/accounts/acme/delegations")["items"]
    pinned = {name: TOKEN[name] for name in ("tkvalue", "fingerprint")}
    right = {"account": "acme", "delegation": loans[0]["id"], **pinned, "lifetime": 600}
    BODIES["create_renewal"] = right
    renewal = call("POST", "/v1/renewals", right)
    revoked = call("POST", "/v1/renewals", right)
    # The name is one that nothing answers at; what is told stays a delivery.
    webhook = call("POST", "/v1/webhooks", {"url": "https://hooks.example.invalid/told", "account": "acme"})
    taken_back = call("POST", "/at/account/acme/token", TOKEN)
    call("POST", f"/v1/grants/{taken_back['jti']}/withdraw", {"reason": "no longer needed"})
    deliveries = f"/v1/webhooks/{webhook['id']}/deliveries"
    until = time.monotonic() + 60
    while not (told := call("GET", deliveries)["items"]):
        if time.monotonic() > until:
            raise SystemExit("no webhook was told")
        time.sleep(0.1)
    key = call("POST", "/v1/api-keys", {"role": "account", "accounts": ["shop"]})
    signers = call("GET", "/v1/signers")
    asked = {"numbers": ["+12125551001"], "method": "sms"}
    proof = call("POST", "/v1/accounts/acme/control-proofs", asked)["items"][0]
    return {
        # Whoever is suspended gets no tokens, and others want some of acme's.
        "/v1/accounts/{id}/suspend": "shop",
        "/v1/accounts": "acme",
        "/at/account": "acme",
        "/api/v1/account": "acme",
        "/v1/delegations": delegation["id"],
        "/v1/exclusions": exclusion["id"],
        "/v1/allocations": allocation["id"],
        "/v1/grants": grant["jti"],
        "/v1/webhooks/{id}": webhook["id"],
        "{delivery}": told[0]["id"],
        "/v1/renewals/{id}/revoke": revoked["id"],
        "/v1/renewals": renewal["id"],
        "/v1/jobs": job["id"],
        "/v1/api-keys": key["id"],
        "/v1/numbers": "+12125551001",
        "/certs": signers["items"][0]["chain"],
        # Not the chain that signs: without it, nobody would get a token any more.
        "/v1/signers": "0" * 64,
        "/v1/control-proofs": proof["id"],
    }


def with_examples(document, names, bodies):
    """The document, with names of things that are there, and bodies, in place of its own examples."""
    for path, item in document["paths"].items():
        for operation in item.values():
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "path":
                    known = [name for start, name in names.items() if path.startswith(start)]
                    # Where a path names two things, the inner one has a name of its own.
                    known = [names.get(f"{{{parameter['name']}}}", *known[:1])] if known else []
                    if not known:
                        raise SystemExit(f"no example for {path}; give it one in {__file__}")
                    parameter["example"] = known[0]
            body = bodies.get(operation["operationId"])
            if body is not None:
                operation["requestBody"]["content"]["application/json"]["example"] = body
    return document


# The database is asked for one unknown chain a second: of another one it is not known then whether it exists.
EXPECTED = """[[operations]]
include-operation-id = "get_chain"
[operations.checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "503"]
"""


def start(service, name, proof, phases, document):
    """Lets schemathesis ask with one proof in `Authorization`; what it says goes into a file."""
    folder = service.dir / name.replace(" ", "-")
    folder.mkdir()
    command = [
        str(Path(sys.executable).parent / "schemathesis"), "run", str(document),
        "--url", service.url, "--tls-verify", service.ca,
        "--checks", ",".join(CHECKS), "--phases", phases,
        "--generation-deterministic", "--max-examples", str(EXAMPLES_EACH),
        # It would make up credentials where it is given none.
        "--generation-with-security-parameters", "false",
        "--continue-on-failure", "--no-shrink", "--suppress-health-check", "all",
        "--request-timeout", "60", "--warnings", "off",
    ]
    if proof:
        command += ["--header", f"Authorization: {proof}"]
    if name == "admin":
        # Chains are known from answers, and the service has one: without it nobody gets a token any more, and the
        # service is not ready.
        command += ["--exclude-operation-id", "distrust_signer"]
    if proof.startswith("tnf_"):
        command += ["--include-path-regex", "^/api/"]
    (folder / "schemathesis.toml").write_text(EXPECTED)
    log = open(folder / "log", "w")
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    return {"name": name, "process": process, "log": folder / "log", "began": began}


def finish(run):
    """Waits for one, and says how it ended; whether well."""
    try:
        status = run["process"].wait(LONGEST)
    except subprocess.TimeoutExpired:
        run["process"].kill()
        status = "no end"
    said = run["log"].read_text()
    cases = re.search(r"^\s*(\d+) generated", said, re.MULTILINE)
    cases = int(cases.group(1)) if cases else 0
    seconds = time.monotonic() - run["began"]
    print(f"schemathesis as {run['name']}: {cases} requests in {seconds:.0f} s", flush=True)
    # An end that is good without a question is none.
    if status == 0 and cases > 0:
        return True
    # Keys of a service that is gone prove nothing, but no log is to show one.
    print(re.sub(r"(tna|tnf)_[\w-]+", r"\1_..", said), flush=True)
    print(f"schemathesis as {run['name']}: FAILED ({status})", flush=True)
    return False


def main():
    service = Service(sys.argv[1])
    try:
        names = one_of_each(service)
        document = service.dir / "openapi.json"
        acme = service.key("account", "acme")
        bodies = {**BODIES, "log_in": {"userId": acme.split("_")[1], "password": acme}}
        described = with_examples(service.call("GET", "/openapi.json"), names, bodies)
        document.write_text(json.dumps(described))
        keys = [
            ("account", acme, QUICK),
            ("renewer", service.key("renewer", "acme"), QUICK),
            ("portal", service.key("portal", "acme", "shop"), QUICK),
            ("a revoked key", service.revoked_key(), QUICK),
            ("auditor", service.key("auditor"), QUICK),
            ("a reseller's auditor", service.key("auditor", "wholesale"), QUICK),
            ("a reseller's provisioner", service.key("provisioner", "wholesale"), THOROUGH),
            ("provisioner", service.key("provisioner"), THOROUGH),
            ("admin", service.admin, THOROUGH),
        ]
        waiting = [
            ("nobody", "", QUICK),
            ("a client of the facade", service.access_token(acme), THOROUGH),
            *((name, f"Bearer {key}", phases) for name, key, phases in keys),
        ]
        running, good = [], True
        while waiting or running:
            while waiting and len(running) < AT_ONCE:
                running.append(start(service, *waiting.pop(0), document))
            good &= finish(running.pop(0))
        return 0 if good else 1
    finally:
        service.stop()


if __name__ == "__main__":
    sys.exit(main())
