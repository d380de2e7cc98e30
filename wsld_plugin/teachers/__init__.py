"""Where soft labels come from: loading, freezing and hiding a teacher."""
from .frozen import FrozenTeacher

__all__ = ['FrozenTeacher']
