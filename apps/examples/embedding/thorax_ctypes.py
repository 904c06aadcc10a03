"""thorax from Python by its C interface (thorax.h), with ctypes and NumPy and nothing to build.

    predictor = Predictor(classifier=["runs/kfold"], segmenter=["runs/lungs/last.safetensors"])
    result = predictor("image.png")            # or a NumPy array, or bytes
    result["json"], result["probabilities"], result["lungs"]

    python3 thorax_ctypes.py '{"classifier": ["runs/kfold"]}' image.png

THORAX_LIBRARY names the library where it is not found by its name.
"""
import ctypes
import json
import os
import sys

import numpy as np

_TYPES = {"uint8": 0, "uint16": 1, "int16": 2, "float32": 3, "float64": 4}
_HEATMAP = 1


class _Pixels(ctypes.Structure):
    _fields_ = ([("data", ctypes.c_void_p)]
                + [(name, ctypes.c_int32) for name in ("height", "width", "channels", "type")]
                + [(name, ctypes.c_int64) for name in ("row_step", "column_step", "channel_step")])


_text, _pointer, _size = ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t
_flags, _sides = ctypes.c_uint32, [ctypes.POINTER(ctypes.c_int32)] * 2
_library = ctypes.CDLL(os.environ.get("THORAX_LIBRARY", "libthorax_c.so.0"))
for _name, _result, _arguments in [
        ("api_version", ctypes.c_uint32, []), ("last_error", _text, []),
        ("open_predictor", _pointer, [_text]), ("free_predictor", None, [_pointer]),
        ("predict_file", _pointer, [_pointer, _text, _flags]),
        ("predict_bytes", _pointer, [_pointer, _text, _size, _text, _flags]),
        ("predict_pixels", _pointer, [_pointer, ctypes.POINTER(_Pixels), _text, _flags]),
        ("free_prediction", None, [_pointer]),
        ("class_count", _size, [_pointer]), ("class_name", _text, [_pointer, _size]),
        ("prediction_verdict", _text, [_pointer]), ("prediction_json", _text, [_pointer]),
        ("prediction_probabilities", ctypes.POINTER(ctypes.c_double), [_pointer]),
        ("prediction_lungs", ctypes.POINTER(ctypes.c_uint8), [_pointer] + _sides),
        ("prediction_heatmap", ctypes.POINTER(ctypes.c_float), [_pointer] + _sides),
        ("open_segmenter", _pointer, [_text]), ("free_segmenter", None, [_pointer]),
        ("segment_file", _pointer, [_pointer, _text]),
        ("segment_bytes", _pointer, [_pointer, _text, _size, _text]),
        ("segment_pixels", _pointer, [_pointer, ctypes.POINTER(_Pixels), _text]),
        ("free_segmentation", None, [_pointer]),
        ("organ_count", _size, [_pointer]), ("organ_name", _text, [_pointer, _size]),
        ("segmentation_mask", ctypes.POINTER(ctypes.c_uint8), [_pointer, _size] + _sides),
        ("segmentation_reason", _text, [_pointer])]:
    _function = getattr(_library, "thorax_" + _name)
    _function.restype, _function.argtypes = _result, _arguments


class ThoraxError(Exception):
    pass


def _checked(pointer):
    if not pointer:
        raise ThoraxError(_library.thorax_last_error().decode(errors="replace"))
    return pointer


def _pixels(array):
    """The array's own memory, whatever its strides."""
    if array.dtype.name not in _TYPES or not array.dtype.isnative or array.ndim not in (2, 3):
        raise ThoraxError(f"an array of {array.ndim} dimensions of {array.dtype}: give height x width (x 3) numbers of "
                          f"{', '.join(_TYPES)}")
    steps = array.strides if array.ndim == 3 else array.strides + (array.itemsize,)
    channels = array.shape[2] if array.ndim == 3 else 1
    return _Pixels(array.ctypes.data, array.shape[0], array.shape[1], channels, _TYPES[array.dtype.name], *steps)


def _plane(function, *arguments):
    """A copy of a picture of the library, or None."""
    height, width = ctypes.c_int32(), ctypes.c_int32()
    data = function(*arguments, ctypes.byref(height), ctypes.byref(width))
    return np.ctypeslib.as_array(data, (height.value, width.value)).copy() if data else None


def _call(what, handle, image, name, *flags):
    if isinstance(image, np.ndarray):
        pixels = _pixels(image)
        return _checked(getattr(_library, f"thorax_{what}_pixels")(handle, ctypes.byref(pixels), name.encode(), *flags))
    if isinstance(image, bytes):
        return _checked(getattr(_library, f"thorax_{what}_bytes")(handle, image, len(image), name.encode(), *flags))
    return _checked(getattr(_library, f"thorax_{what}_file")(handle, os.fsencode(image), *flags))


class Predictor:
    """Options are the keys of thorax_open_predictor."""

    def __init__(self, **options):
        self._handle = None
        self._handle = _checked(_library.thorax_open_predictor(json.dumps(options).encode()))
        count = _library.thorax_class_count(self._handle)
        self.classes = [_library.thorax_class_name(self._handle, i).decode() for i in range(count)]

    def __del__(self):
        _library.thorax_free_predictor(self._handle)

    def __call__(self, image, name="array", heatmap=False):
        """`image`: a path, the bytes of an image file, or an array of height x width (x 3) numbers."""
        p = _call("predict", self._handle, image, name, _HEATMAP if heatmap else 0)
        try:
            values = _library.thorax_prediction_probabilities(p)
            return {"verdict": _library.thorax_prediction_verdict(p).decode(),
                    "probabilities": dict(zip(self.classes, values[:len(self.classes)])) if values else None,
                    "lungs": _plane(_library.thorax_prediction_lungs, p),
                    "heatmap": _plane(_library.thorax_prediction_heatmap, p),
                    "json": _library.thorax_prediction_json(p).decode()}
        finally:
            _library.thorax_free_prediction(p)


class Segmenter:
    """Options are the keys of thorax_open_segmenter."""

    def __init__(self, **options):
        self._handle = None
        self._handle = _checked(_library.thorax_open_segmenter(json.dumps(options).encode()))
        count = _library.thorax_organ_count(self._handle)
        self.organs = [_library.thorax_organ_name(self._handle, i).decode() for i in range(count)]

    def __del__(self):
        _library.thorax_free_segmenter(self._handle)

    def __call__(self, image, name="array"):
        """The mask of each organ by its name, 255 inside, and why the image was not kept ("" if it was)."""
        s = _call("segment", self._handle, image, name)
        try:
            return {"masks": {organ: _plane(_library.thorax_segmentation_mask, s, i)
                              for i, organ in enumerate(self.organs)},
                    "reason": _library.thorax_segmentation_reason(s).decode()}
        finally:
            _library.thorax_free_segmentation(s)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} OPTIONS IMAGE")
    try:
        print(Predictor(**json.loads(sys.argv[1]))(sys.argv[2])["json"])
    except ThoraxError as error:
        sys.exit(str(error))
