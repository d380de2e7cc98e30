"""Where soft labels come from: loading, freezing and hiding a teacher, and teachers that are no single network."""
from .ensemble import EnsembleTeacher
from .frozen import FrozenTeacher
from .virtual import VirtualTeacher

__all__ = ['EnsembleTeacher', 'FrozenTeacher', 'VirtualTeacher']
