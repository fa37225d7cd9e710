"""The generator of Vaksman and Elad: images become codes, codes get a probability, draws give images."""

from sparsegen_classic.generator.draws import Draws
from sparsegen_classic.generator.memory import MemoryPlan, plan_memory
from sparsegen_classic.generator.model import SparseImageGenerator

__all__ = ["Draws", "MemoryPlan", "SparseImageGenerator", "plan_memory"]
