# Types of the extension that cffi generates from native/field.cdef.h.

from typing import Any, Final

class _Pointer: ...

class _Ffi:
    NULL: Final[_Pointer]
    def from_buffer(self, ctype: str, source: object, require_writable: bool = ...) -> _Pointer: ...
    def string(self, pointer: object) -> bytes: ...

ffi: Final[_Ffi]
lib: Final[Any]
