"""The service: images in over HTTP, probabilities with their uncertainty out. It never imports torch.

errors        the tree of everything that can go wrong here, with its HTTP status
settings      what an operator can set, frozen
cgroup        where a container's limits stand
cores         how many cores this process may use
artifact      a level's ONNX file, checked before ONNX Runtime sees it
split         a graph in two: what all draws share, and the rest
noise         the noise of a draw, in antithetic pairs
processor     what the processor does with products of eight-bit numbers
session       an ONNX graph made ready to run
quantization  a level's convolutions in eight bits
bank          the draws of a level, as ready networks
engine        `draws(images, samples) -> logits`
arrangement   how many draws a graph holds, tried out at load
uncertainty   draws to probabilities, intervals and entropies
strangeness   scores of how unlike its training pictures an image is
settlement    when more draws would change nothing
answer        what an answer says
job           one request's images on their way
niceness      threads that compute step back
scheduler     which images are computed when, on a few threads
picture       bytes of a picture to the pixels that a model takes
png           plain PNG files, decoded sooner
body          a request's body, inflated and within its limit
form          the entries of a multipart form
payload       the three forms of a request's body
wish          the level that a request means by what it wishes
plan          what will be done for a request
errand        work that takes long, on another thread
passage       what is done with every request
admission     a bound on the work that waits, and less work under overload
memory        a limit on what banks take
latency       how long answers took
histogram     how often values lay in fixed ranges
drift         whether predictions are distributed as on the test set
record        what was seen of one level
account       what happened to one request
traffic       what was seen of all requests
served        a level that is served
served_model  a model as it is offered at one moment
cache         where files of a store are kept on this machine
complaints    warnings, each once
reader        models as the store has them, each version verified or refused
catalog       the models of a store, ready to answer
listing       what `GET /models` says
inference     requests and answers of the Open Inference Protocol
tensor        its input, to the pixels that a model takes
outputs       what it may have of images, as tensors
repository    what it says of a server and its models
problem       errors as RFC 9457 problem documents
metrics       what Prometheus reads
status        what `GET /status` says
log           one line a request, as text or JSON
tracing       one span a stage, for OpenTelemetry
observation   sees each request from its first byte to its end
document      the OpenAPI document
assets        the files of the page, whose scripts, styles and examples are in `page/`
keys          API keys, and the file of their digests
access        who may ask: what routes depend on
rate          how many images a client may ask about in a time
guard         hosts, origins, and what browsers are told
routes        `predict`, `models`, `health`, `metrics`, `status`, `page`; `infer` and `repository` of the protocol
direct        a short way to the routes that do the work
app           all of it as one FastAPI application
protocol      HTTP/1.1, with limits on headers and on slow clients
server        the process: its socket, its certificate, its signals, its end
draining      the end of a process that has clients
client        the same, from the other side: one that waits and one for asyncio
files         pictures on disk: names, folders, patterns
asking        many pictures, several requests at a time
report        what came of them: a table, JSON, CSV
scoring       many images to files of Parquet, here or on a Ray cluster
demo          the whole line, once, before your eyes
bench         what an answer costs beside one deterministic pass
console       `slimbayes`, and the commands of all packages
flags         the settings as flags of a command
cli           `slimbayes serve` and `slimbayes demo`
predict_cli   `slimbayes predict`
score_cli     `slimbayes score`
keys_cli      `slimbayes keys`
bench_cli     `slimbayes bench`
"""
