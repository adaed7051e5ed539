"""Constants of a level's ONNX file and of its eight-bit arithmetic, for exporter, reader and service alike."""

from __future__ import annotations

DOMAIN = "slimbayes"
# From opset 22 on ONNX Runtime's CPU provider has no RandomNormalLike.
IR_VERSION = 10
# Versions by domain; "" is ONNX itself.
OPSETS = {"": 21, DOMAIN: 1}
# Keys of the file's metadata begin so.
METADATA_PREFIX = "slimbayes."

# uint8 [N, H, W, C], the same normalised as float32 [N, C, H, W], and float32 [N, K].
IMAGES, PIXELS, LOGITS = "images", "pixels", "logits"

# The function that draws mean + scale · ε with ε ~ N(0, I). Its body is part of the file, so that any ONNX Runtime
# draws as we do: operator, inputs, outputs.
GAUSSIAN_WEIGHT = "GaussianWeight"
GAUSSIAN_WEIGHT_INPUTS, GAUSSIAN_WEIGHT_OUTPUTS = ("mean", "scale"), ("weight",)
GAUSSIAN_WEIGHT_BODY = (
    ("RandomNormalLike", ("mean",), ("noise",)),
    ("Mul", ("scale", "noise"), ("deviation",)),
    ("Add", ("mean", "deviation"), ("weight",)),
)

# Eight-bit convolutions: 2 · 255 · 64 < 2¹⁵, so that the sum of two products fits the sixteen bits at which x86
# processors without VNNI saturate; biases as far as float32 represents int32.
MAX_UINT8 = 255
MAX_INT8_WEIGHT = 64
MAX_INT32_BIAS = 2**31 - 2**7
# Attributes of ONNX's HardSigmoid, max(0, min(1, alpha · x + beta)), with which it is torch's; float32.
HARD_SIGMOID = {"alpha": 0.1666666716337204, "beta": 0.5}

# A mixture: members by number, of which one is picked at random in each run and computed. Its body is part of the file.
MAX_MEMBERS = 16
PICK_MEMBER = "PickMember"
PICK_MEMBER_INPUTS, PICK_MEMBER_OUTPUTS = ("members",), ("member",)
PICK_MEMBER_BODY = (
    ("RandomNormalLike", ("members",), ("noise",)),
    ("ArgMax", ("noise",), ("place",)),
    ("Gather", ("members", "place"), ("member",)),
)
# The numbers of all members, the number of the one picked, and the "logits" before any member is asked.
MEMBERS, MEMBER, NOTHING = "members", "member", "nothing"
# Attributes of ONNX's If: graphs that read the tensors around them.
THEN, ELSE = "then_branch", "else_branch"


def member_prefix(member: int) -> str:
    """Return what the names of a member's tensors begin with, in the file of a mixture."""
    return f"member{member}."


def turn(member: int, members: int) -> tuple[str, str, str, str]:
    """Return names of a member's turn: its number, whether it was picked, the logits before it, and those after it."""
    before = NOTHING if member == 0 else f"{LOGITS}.{member - 1}"
    after = LOGITS if member == members - 1 else f"{LOGITS}.{member}"
    return f"{MEMBERS}.{member}", f"{MEMBER}.{member}", before, after
