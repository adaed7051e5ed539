"""`python -m service` is `slimbayes serve`."""

from service.cli.serve import serve_app

serve_app(prog_name="slimbayes serve")
