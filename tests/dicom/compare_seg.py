"""compare_seg.py CUT STUDIES: every DICOM Segmentation in CUT/segmentations, read by highdicom, names an image of STUDIES as its
source and holds the mask that lies beside it as PNG."""
import pathlib
import sys

import highdicom
import numpy as np
import pydicom
from PIL import Image

cut, studies = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
sources = {}
for path in studies.rglob("*.dcm"):
    header = pydicom.dcmread(path, stop_before_pixels=True)
    sources[header.SOPInstanceUID] = (path.stem, header)
seen = 0
for path in sorted((cut / "segmentations").glob("*.dcm")):
    segmentation = highdicom.seg.segread(path)
    (study, _, instance), = segmentation.get_source_image_uids()
    stem, source = sources[instance]
    assert stem == path.stem and study == source.StudyInstanceUID == segmentation.StudyInstanceUID, path
    assert segmentation.PatientID == source.PatientID, path
    assert segmentation.get_segment_description(1).segmented_property_type.meaning == "Lung", path
    pixels = segmentation.get_pixels_by_source_instance([instance], ignore_spatial_locations=True)[0, ..., 0]
    mask = np.asarray(Image.open(cut / "masks" / f"{path.stem}.png")) != 0
    assert np.array_equal(pixels != 0, mask), path
    seen += 1
assert seen > 0, "no segmentation was written"
print(f"compare_seg.py: {seen} segmentations are their masks, by highdicom {highdicom.__version__}")
