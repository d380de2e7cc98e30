"""Where soft labels come from: trained networks, ensembles of them, and teachers without a network."""
from .ensemble import EnsembleTeacher
from .from_labels import GivenTeacher, VirtualTeacher
from .network import TeacherNetwork
from .renormalize import Renormalize, renormalize

__all__ = ['EnsembleTeacher', 'GivenTeacher', 'Renormalize', 'TeacherNetwork', 'VirtualTeacher', 'renormalize']
