"""Tensors of thorax as arrays of NumPy and PyTorch, and the other way round, without a copy (DLPack).

python3 dlpack_share.py libdlpack_share.so      (made of dlpack_share.cpp)
"""
import ctypes
import sys

import numpy as np

library = ctypes.CDLL(sys.argv[1])
library.share_counting.restype = ctypes.c_void_p
library.share_double.argtypes = [ctypes.c_void_p]
new_capsule = ctypes.pythonapi.PyCapsule_New
new_capsule.restype, new_capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
rename = ctypes.pythonapi.PyCapsule_SetName
rename.argtypes = [ctypes.py_object, ctypes.c_char_p]
LENT, TAKEN = b"dltensor", b"used_dltensor"


class Counting:
    """What NumPy and PyTorch ask of an object that they take memory from: they free it."""

    def __dlpack__(self, **_):
        return new_capsule(library.share_counting(), LENT, None)

    def __dlpack_device__(self):
        return (1, 0)  # host memory


def double(array):
    """Doubles an array where it is. True if thorax could take it."""
    capsule = array.__dlpack__()
    if library.share_double(pointer_of(capsule, LENT)) != 0:
        return False
    rename(capsule, TAKEN)  # it has been freed
    return True


counting = np.from_dlpack(Counting())
assert counting.shape == (2, 3, 4) and counting.dtype == np.float32
assert np.array_equal(counting.ravel(), np.arange(24))
array = np.ones((2, 5, 3), np.float32)
assert double(array) and (array == 2).all()
assert double(array[:, :, :2]) and (array[:, :, :2] == 4).all() and (array[:, :, 2] == 2).all()
assert not double(array.T) and not double(np.ones(3, np.complex64))
print("NumPy", np.__version__, "shares memory with thorax, both ways")
try:
    import torch
except ImportError:
    print("SKIPPED: PyTorch is not installed")
    sys.exit()
tensor = torch.from_dlpack(Counting())
assert tensor.shape == (2, 3, 4) and tensor.flatten().tolist() == list(range(24))
mine = torch.ones(4, 4)
assert double(mine[:, 1:3]) and mine.sum() == 24
print("PyTorch", torch.__version__, "shares memory with thorax, both ways")
