"""The console: commands whose extra is not installed say so."""

from __future__ import annotations

import subprocess
import sys


def test_commands_say_what_is_missing() -> None:
    """Without torch, training and pruning end in one sentence that says what to install."""
    for command in (["train"], ["prune", "nothing"], ["demo"]):
        program = "import sys; sys.modules['torch'] = None\n"
        program += f"sys.argv = ['slimbayes', *{command!r}]\nfrom service.cli.main import main; main()"
        result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert result.returncode == 1
        assert result.stderr.strip().endswith("needs the train extra: pip install 'slimbayes[train]'")
        assert "Traceback" not in result.stderr
