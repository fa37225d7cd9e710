"""The command ``sparsegen-classic``: thin commands over the Python functions of the same names."""

import click

from sparsegen_classic._version import __version__
from sparsegen_classic.cli.crosscheck import crosscheck
from sparsegen_classic.cli.crosscheck_encoder import crosscheck_encoder
from sparsegen_classic.cli.csc import csc
from sparsegen_classic.cli.demo import demo
from sparsegen_classic.cli.denoise import denoise
from sparsegen_classic.cli.encode import encode
from sparsegen_classic.cli.evaluate import evaluate
from sparsegen_classic.cli.fit import fit
from sparsegen_classic.cli.info import info
from sparsegen_classic.cli.inpaint import inpaint
from sparsegen_classic.cli.learn_dictionary import learn_dictionary
from sparsegen_classic.cli.reconstruct import reconstruct
from sparsegen_classic.cli.sample import sample
from sparsegen_classic.cli.vary import vary


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__, prog_name="sparsegen-classic")
def main() -> None:
    """Learn the sparse codes of images and draw new images from them.

    \b
    Quick start:
      sparsegen-classic demo
      sparsegen-classic fit photos/ --size 64 --fit crop -o faces.npz
      sparsegen-classic sample faces.npz -n 100 -o sheet.png --neighbours photos/ --fit crop
      sparsegen-classic info faces.npz --json
    """


for command in (
    csc,
    crosscheck,
    crosscheck_encoder,
    demo,
    fit,
    sample,
    vary,
    evaluate,
    info,
    learn_dictionary,
    encode,
    reconstruct,
    denoise,
    inpaint,
):
    main.add_command(command)
