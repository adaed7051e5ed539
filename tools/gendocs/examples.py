"""Define the curl examples of the HTTP API reference; tests run each of them.

`keyed` examples need a service with keys over a copy of the zoo, all others one that was started by
`slimbayes serve --store zoo --feedback 100`.
"""

from __future__ import annotations

from dataclasses import dataclass

from model_store.storage.location import ZOO
from model_store.store import Store

URL = "http://127.0.0.1:8000"
MODEL = "cifar10-resnet20"
VERSION = max(Store.open(ZOO).versions(MODEL))
ONE = f"{URL}/models/{MODEL}"
V2 = f"{URL}/v2/models/{MODEL}"
BEARER = '-H "Authorization: Bearer $KEY"'
JSON = "-H 'Content-Type: application/json'"
# A tensor with one image file; `printf` fills in its bytes.
TENSOR = '{"name": "images", "shape": [1], "datatype": "BYTES", "data": ["%s"]}'
DRAWS = '"parameters": {"samples": 16}, "outputs": [{"name": "probabilities"}, {"name": "draws"}]'
BASE64 = '"$(base64 -w 0 cat.jpg)"'


@dataclass(frozen=True)
class Example:
    """Pair a curl command with its status; `answer` is set where every service returns the same body."""

    shows: str
    command: str
    status: int = 200
    answer: str | None = None
    keyed: bool = False


FETCH = Example(
    "Download two example images from the service:",
    f"curl -s -o cat.jpg {URL}/page/examples/cat.jpg\ncurl -s -o boat.png {URL}/page/examples/boat.png",
)
PROBLEM = Example(
    "An unknown model:",
    f"curl -s -H 'X-Request-ID: example-1' {URL}/models/cats",
    404,
    '{"type":"about:blank","title":"Not Found","status":404,'
    f'"detail":"no model \'cats\': there is {MODEL}","request_id":"example-1"}}',
)
REFUSAL = Example(
    "The same under `/v2`:",
    f"curl -s {URL}/v2/models/cats",
    404,
    f'{{"error":"no model \'cats\': there is {MODEL}"}}',
)
KEYED = (
    Example("With a key:", f"curl -s {BEARER} -F images=@cat.jpg {URL}/predict", keyed=True),
    Example("The same in another header:", f'curl -s -H "X-API-Key: $KEY" {URL}/models', keyed=True),
    Example("Without one:", f"curl -s {URL}/models", 401, keyed=True),
)
EXAMPLES: dict[str, tuple[Example, ...]] = {
    "POST /predict": (
        Example(
            "One or more files in a form:",
            f"curl -s -F images=@cat.jpg -F images=@boat.png {URL}/predict?model={MODEL}",
        ),
        Example(
            "One raw image; only the three most probable classes:",
            f"curl -s -H 'Content-Type: image/jpeg' --data-binary @cat.jpg '{URL}/predict?top_k=3'",
        ),
        Example(
            "JSON with base64:",
            f'printf \'{{"images": ["%s"]}}\' {BASE64} | curl -s {JSON} --data-binary @- {URL}/predict',
        ),
        Example(
            "Exactly 16 draws, each of them listed, and a prediction set for α = 0.05:",
            f"curl -s -F images=@cat.jpg '{URL}/predict?samples=16&draws=true&alpha=0.05'",
        ),
        Example("A level by name:", f"curl -s -F images=@cat.jpg '{URL}/predict?level=x4'"),
        Example(
            "The fastest level with at least 88 % accuracy; `level_reason` explains the selection:",
            f"curl -s -F images=@cat.jpg '{URL}/predict?level=auto&min_accuracy=0.88'",
        ),
        Example(
            "The most accurate level with a measured latency of at most one second:",
            f"curl -s -F images=@cat.jpg '{URL}/predict?level=auto&max_latency_ms=1000'",
        ),
        Example(
            "Stop sampling after five seconds and answer with the draws computed by then:",
            f"curl -s -F images=@cat.jpg '{URL}/predict?samples=256&deadline_ms=5000'",
        ),
        Example("A parameter out of range:", f"curl -s -F images=@cat.jpg '{URL}/predict?samples=0'", 422),
    ),
    "POST /feedback": (
        Example(
            "The true label of an answer, by an id of one's own:",
            f"curl -s -o answer.json -H 'X-Request-ID: visit-1' -F images=@cat.jpg {URL}/predict\n"
            f'curl -s {JSON} -d \'{{"request_id": "visit-1", "label": "cat"}}\' {URL}/feedback',
            answer='{"request_id":"visit-1","image":0}',
        ),
        Example(
            "An answer that is not remembered:",
            f'curl -s {JSON} -d \'{{"request_id": "never", "label": "cat"}}\' {URL}/feedback',
            404,
        ),
    ),
    "GET /models": (
        Example("All models:", f"curl -s {URL}/models"),
        Example(
            "The levels of one model, most accurate first:",
            f"curl -s '{URL}/models?model={MODEL}&sort=accuracy&descending=true'",
        ),
        Example("Fastest first, by the latency measured in this process:", f"curl -s '{URL}/models?sort=latency'"),
    ),
    "GET /models/{model}": (Example("", f"curl -s {ONE}"),),
    "GET /models/{model}/versions/{version}": (Example("", f"curl -s {ONE}/versions/{VERSION}"),),
    "GET /models/{model}/versions/{version}/card": (Example("", f"curl -s {ONE}/versions/{VERSION}/card"),),
    "POST /models/{model}/aliases/{alias}": (
        Example(
            "",
            f'curl -s {BEARER} {JSON} \\\n  -d \'{{"version": "{VERSION}"}}\' {ONE}/aliases/production',
            answer=f'{{"model":"{MODEL}","alias":"production","version":"{VERSION}"}}',
            keyed=True,
        ),
    ),
    "GET /status": (Example("", f"curl -s {URL}/status"),),
    "GET /v2": (Example("", f"curl -s {URL}/v2"),),
    "GET /v2/health/live": (Example("", f"curl -s {URL}/v2/health/live", answer='{"live":true,"ready":true}'),),
    "GET /v2/health/ready": (Example("", f"curl -s {URL}/v2/health/ready", answer='{"live":true,"ready":true}'),),
    "GET /v2/models/{model}": (Example("", f"curl -s {V2}"),),
    "GET /v2/models/{model}/versions/{version}": (Example("", f"curl -s {V2}/versions/{VERSION}"),),
    "GET /v2/models/{model}/ready": (
        Example(
            "",
            f"curl -s {V2}/ready",
            answer=f'{{"name":"{MODEL}","version":"{VERSION}","ready":true}}',
        ),
    ),
    "GET /v2/models/{model}/versions/{version}/ready": (Example("", f"curl -s {V2}/versions/{VERSION}/ready"),),
    "POST /v2/models/{model}/infer": (
        Example(
            "An image file in base64:",
            f'printf \'{{"id": "one", "inputs": [{TENSOR}]}}\' {BASE64} |\n'
            f"  curl -s {JSON} --data-binary @- {V2}/infer",
        ),
    ),
    "POST /v2/models/{model}/versions/{version}/infer": (
        Example(
            "With 16 draws, each returned as an output:",
            f"printf '{{\"inputs\": [{TENSOR}], {DRAWS}}}' {BASE64} |\n"
            f"  curl -s {JSON} --data-binary @- {V2}/versions/{VERSION}/infer",
        ),
    ),
    "POST /v2/repository/index": (
        Example("", f"curl -s -X POST {URL}/v2/repository/index"),
        Example("Only ready models:", f"curl -s {JSON} -d '{{\"ready\": true}}' {URL}/v2/repository/index"),
    ),
    "POST /v2/repository/models/{model}/load": (
        Example("", f"curl -s {BEARER} -X POST {URL}/v2/repository/models/{MODEL}/load", answer="{}", keyed=True),
    ),
    "POST /v2/repository/models/{model}/unload": (
        Example("", f"curl -s {BEARER} -X POST {URL}/v2/repository/models/{MODEL}/unload", answer="{}", keyed=True),
    ),
    "GET /metrics": (Example("", f"curl -s {URL}/metrics"),),
    "GET /livez": (Example("", f"curl -s {URL}/livez", answer='{"status":"alive"}'),),
    "GET /readyz": (
        Example("", f"curl -s {URL}/readyz", answer='{"status":"ready","store":"reachable","unready":[]}'),
    ),
}
