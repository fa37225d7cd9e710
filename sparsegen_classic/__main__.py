"""``python -m sparsegen_classic`` is the command ``sparsegen-classic``."""

from sparsegen_classic.cli import main

main(prog_name="sparsegen-classic")
