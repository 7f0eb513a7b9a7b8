"""Drives a running service by the client that openapi-python-client generates: makes an account, an allocation and a
delegation, mints, imports a table, and reads a refusal. `check.py` runs it, and sets the variables that it reads.
"""

import base64
import os
import ssl
import time
from io import BytesIO
from typing import TypeVar

from tn_authority_client import AuthenticatedClient
from tn_authority_client.api.accounts import put_account
from tn_authority_client.api.callers import create_api_key
from tn_authority_client.api.inventory import create_allocation, create_delegation, get_job, start_import
from tn_authority_client.api.ledger import get_grant
from tn_authority_client.api.tokens import issue_token, issue_tokens
from tn_authority_client.models import (
    Account,
    Allocation,
    BulkAnswer,
    BulkItemAtcTokenRequest,
    BulkItemTokenRequest,
    BulkRefusal,
    BulkRequest,
    Delegation,
    Grant,
    Job,
    NewAccount,
    NewAllocationNumberBlock,
    NewApiKey,
    NewDelegationNumberRange,
    Problem,
    ShownApiKey,
    Token,
    TokenRequest,
)
from tn_authority_client.types import File

ACCOUNT = "python"
FINGERPRINT = "SHA256 " + ":".join(["5E"] * 32)
T = TypeVar("T")


def client(key: str) -> AuthenticatedClient:
    trust = ssl.create_default_context(cafile=os.environ["TNA_CA"])
    return AuthenticatedClient(os.environ["TNA_URL"], key, verify_ssl=trust)


def expect(kind: type[T], answer: object) -> T:
    assert isinstance(answer, kind), answer
    return answer


def list_of(tn: str) -> str:
    """The TNAuthList of one number of 11 digits (RFC 8226 §9), as a `tkvalue`."""
    der = bytes([0x30, 15, 0xA2, 13, 0x16, 11]) + tn.encode()
    return base64.urlsafe_b64encode(der).rstrip(b"=").decode()


def request(tn: str) -> TokenRequest:
    return TokenRequest(tktype="TNAuthList", tkvalue=list_of(tn), fingerprint=FINGERPRINT)


admin = client(os.environ["ADMIN_KEY"])
expect(Account, put_account.sync(ACCOUNT, client=admin, body=NewAccount(name="Python")))
held = NewAllocationNumberBlock(block="1.646.555.1XXX", spc="1234", basis="block")
allocation = expect(Allocation, create_allocation.sync(client=admin, body=held))
assert (allocation.start, allocation.count) == ("+16465551000", 1000)
delegated = NewDelegationNumberRange(start="+16465551000", count=10)
delegation = expect(Delegation, create_delegation.sync(ACCOUNT, client=admin, body=delegated))
assert (delegation.account, delegation.count) == (ACCOUNT, 10)

key = expect(ShownApiKey, create_api_key.sync(client=admin, body=NewApiKey(role="account", accounts=[ACCOUNT])))
caller = client(key.key)
token = expect(Token, issue_token.sync(ACCOUNT, client=caller, body=request("16465551001")))
assert token.token.count(".") == 2
assert expect(Grant, get_grant.sync(token.jti, client=admin)).account == ACCOUNT

# One that is delegated, and one that is not.
items: list[BulkItemAtcTokenRequest | BulkItemTokenRequest] = [
    BulkItemTokenRequest(account=ACCOUNT, tktype="TNAuthList", tkvalue=list_of(tn), fingerprint=FINGERPRINT)
    for tn in ("16465551002", "16465551999")
]
bulk = expect(BulkAnswer, issue_tokens.sync(client=caller, body=BulkRequest(requests=items)))
assert expect(Token, bulk.items[0]).jti != token.jti
assert expect(BulkRefusal, bulk.items[1]).problem.code == "not-authorized"

table = File(payload=BytesIO(b"start,reason\n+16465551005,reserved\n"))
job = expect(Job, start_import.sync(client=admin, body=table, format_="exclusions"))
until = time.monotonic() + 60
while job.state in ("queued", "running") and time.monotonic() < until:
    time.sleep(0.1)
    job = expect(Job, get_job.sync(job.id, client=admin))
assert (job.state, job.progress.lines_read) == ("done", 1), job

# The number that the table has excluded.
answer = issue_token.sync_detailed(ACCOUNT, client=caller, body=request("16465551005"))
assert answer.headers["Content-Type"] == "application/problem+json"
problem = expect(Problem, answer.parsed)
assert (problem.status, problem.code) == (403, "not-authorized"), problem
print("minted, imported, and was refused")
