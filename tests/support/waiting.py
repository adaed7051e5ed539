"""Guard against hanging: no test waits for longer than this, and no test is right because something took less."""

HANG_S = 900.0
HANG_MS = 1000 * HANG_S
