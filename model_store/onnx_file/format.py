"""The operators that a level may use: attributes, inputs and the shape of what each makes.

Shapes are without the number of images N. A tensor is an `activation` where it depends on the images, a `constant`
where it is in the file, and `drawn` where it is a random weight. Every rule is that of ONNX, opset 21, narrowed to
what exporters write; each raises VerificationError for anything else.
"""

from __future__ import annotations

DOMAIN, DRAWN = "slimbayes", "GaussianWeight"

IR_VERSION, OPSETS = 10, {"": 21, DOMAIN: 1}
IMAGES, LOGITS = "images", "logits"
