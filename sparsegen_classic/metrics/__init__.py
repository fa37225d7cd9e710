"""What can be said about samples: here, how far they are from the images a model has seen."""

from sparsegen_classic.metrics.digit_network import DigitNetwork
from sparsegen_classic.metrics.neighbours import nearest_images

__all__ = ["DigitNetwork", "nearest_images"]
