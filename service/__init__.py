"""The service: images in over HTTP, probabilities with their uncertainty out. It never imports torch.

errors        the tree of everything that can go wrong here, with its HTTP status
settings      what an operator can set, frozen
cores         how many cores this process may use
artifact      a level's ONNX file, checked before ONNX Runtime sees it
bank          the draws of a level: one ready network each
engine        `draws(images, samples) -> logits`
uncertainty   draws to probabilities, intervals and entropies
answer        what an answer says
picture       bytes of a picture to the pixels that a model takes
payload       the three forms of a request's body
admission     a bound on the work that waits
latency       how long answers took
catalog       the models of a store, ready to answer
listing       what `GET /models` says
problem       errors as RFC 9457 problem documents
routes        `predict`, `models`, `health`
app           all of it as one FastAPI application
server        the process: its socket, its signals, its end
client        the same, from the other side
demo          the whole line, once, before your eyes
console       `slimbayes`, and the commands of all packages
cli           `slimbayes serve`, `predict` and `demo`
"""

import os

# ONNX Runtime reports its use to its makers unless it is told not to before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
