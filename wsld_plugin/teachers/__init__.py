"""Where soft labels come from: loading, freezing and hiding a teacher, and teachers that are no single network."""
from .cached import CachedTeacher
from .ensemble import EnsembleTeacher
from .frozen import FrozenTeacher
from .given import GivenTeacher
from .virtual import VirtualTeacher

__all__ = ['CachedTeacher', 'EnsembleTeacher', 'FrozenTeacher', 'GivenTeacher', 'VirtualTeacher']
