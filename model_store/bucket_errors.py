"""What a bucket's refusals mean: by the code in the error document that S3, GCS and Azure answer with, else by status.

S3: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
Azure: https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes
"""

from __future__ import annotations

import re

from model_store.errors import ObjectError, ObjectExistsError, ObjectNotFoundError, StoreAwayError

CODE = re.compile(r"<Code>(\w+)</Code>")
STATUS = re.compile(r"status code: (\d{3})")
SYSTEM_SAYS = re.compile(r'Os \{[^}]*message: "([^"]+)"')
# Where a machine in a cloud is told of its role.
METADATA = "169.254.169.254"

WRONG_KEY = "the credentials are wrong"
DENIED = "the credentials do not allow it"
NO_BUCKET = "there is no such bucket"
CLOCK = "this machine's clock is not right: the store refuses requests that are dated too far from its own time"
REGION = "the bucket is in another region: set AWS_REGION"
REASONS = {
    "SignatureDoesNotMatch": WRONG_KEY,
    "InvalidAccessKeyId": WRONG_KEY,
    "InvalidToken": WRONG_KEY,
    "AuthenticationFailed": WRONG_KEY,
    "ExpiredToken": "the credentials have expired",
    "AccessDenied": DENIED,
    "AuthorizationFailure": DENIED,
    "AuthorizationPermissionMismatch": DENIED,
    "InsufficientAccountPermissions": DENIED,
    "NoSuchBucket": NO_BUCKET,
    "ContainerNotFound": NO_BUCKET,
    "RequestTimeTooSkewed": CLOCK,
    "AuthorizationHeaderMalformed": REGION,
    "PermanentRedirect": REGION,
    "NotImplemented": "the server has no such request; if it was a conditional write, set AWS_CONDITIONAL_PUT=disabled",
}


def object_error(error: Exception) -> ObjectError:
    """The store's error for one of obstore's."""
    from obstore.exceptions import AlreadyExistsError, GenericError, PermissionDeniedError, UnauthenticatedError

    text = str(error)
    code, status = CODE.search(text), STATUS.search(text)
    if METADATA in text:
        return ObjectError("there are no credentials in the environment, and this machine has no role")
    if code and code[1] in REASONS:
        return ObjectError(f"{REASONS[code[1]]} ({code[1]})")
    if isinstance(error, FileNotFoundError):
        return ObjectNotFoundError("there is no such object")
    if isinstance(error, AlreadyExistsError):
        return ObjectExistsError("it is there already")
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return ObjectError(DENIED)
    if status:
        kind = StoreAwayError if status[1] in ("408", "429") or status[1] >= "500" else ObjectError
        return kind(f"it answers {status[1]}{f' {code[1]}' if code else ''}")
    if isinstance(error, GenericError | OSError):
        system = SYSTEM_SAYS.search(text)
        return StoreAwayError(f"it does not answer{f' ({system[1].lower()})' if system else ''}")
    return ObjectError(text.splitlines()[0])
