#!/usr/bin/env bash
# A folder of DICOM studies: describe, cross-validate, predictions as CSV, lungs as DICOM Segmentation.
#
#   apps/examples/workflows/dicom_to_csv_and_seg.sh [FOLDER] [THORAX]
#
# FOLDER (default dicom-run) is made; THORAX is the program (default: thorax), built with DCMTK. dcmtk's dump2dcm makes the files: two
# ellipses of air in 12 bits, and in every second patient a shadow in one of them.
set -euo pipefail
folder=${1:-dicom-run} thorax=${2:-thorax}
mkdir "$folder"
for missing in "$(command -v dump2dcm >/dev/null || echo "dump2dcm (package dcmtk)")" \
  "$("$thorax" info | grep -q '^DICOM .*DCMTK' || echo "a build of thorax with DCMTK (package libdcmtk-dev)")"; do
  if [ -n "$missing" ]; then
    echo "SKIPPED: this workflow needs $missing" | tee "$folder/skipped.txt"
    exit 0
  fi
done

# One text of elements an image, made a file by dump2dcm. Two studies of each of eight patients.
mkdir "$folder/studies"
echo "PatientID,label" > "$folder/labels.csv"
for patient in 1 2 3 4 5 6 7 8; do
  ill=$((patient % 2))
  echo "P$patient,$([ $ill = 1 ] && echo pneumonia || echo normal)" >> "$folder/labels.csv"
  for study in 1 2; do
    awk -v patient=$patient -v study=$study -v ill=$ill 'BEGIN {
      srand(10 * patient + study)
      print "(0008,0016) UI 1.2.840.10008.5.1.4.1.1.1"
      print "(0008,0018) UI 1.2.826.0.1.3680043.10.9." patient "." study
      print "(0008,0020) DA 2020010" study
      print "(0008,0060) CS CR"
      print "(0010,0010) PN Phantom"
      print "(0010,0020) LO P" patient
      print "(0010,1010) AS 0" 30 + patient "Y"
      print "(0018,0015) CS CHEST"
      print "(0018,5101) CS PA"
      print "(0020,000d) UI 1.2.826.0.1.3680043.10.9." patient "." study ".1"
      print "(0020,000e) UI 1.2.826.0.1.3680043.10.9." patient "." study ".2"
      print "(0028,0002) US 1"
      print "(0028,0004) CS MONOCHROME2"
      print "(0028,0010) US 64"
      print "(0028,0011) US 64"
      print "(0028,0100) US 16"
      print "(0028,0101) US 12"
      print "(0028,0102) US 11"
      print "(0028,0103) US 0"
      print "(0028,1050) DS 2000"
      print "(0028,1051) DS 3600"
      printf "(7fe0,0010) OW "
      for (y = 0; y < 64; ++y) for (x = 0; x < 64; ++x) {
        air = ((x - 19) / 10) ^ 2 + ((y - 32) / 20) ^ 2 < 1 || ((x - 45) / 10) ^ 2 + ((y - 32) / 20) ^ 2 < 1
        shadow = ill && (x - 19) ^ 2 + (y - 40) ^ 2 < 49
        printf "%s%04x", x + y ? "\\" : "", (air ? 700 : 2900) + (shadow ? 1500 : 0) + 300 * rand()
      }
      print ""
    }' > "$folder/elements.txt"
    dump2dcm --quiet --line 65536 --write-xfer-little "$folder/elements.txt" "$folder/studies/p${patient}_$study.dcm"
  done
done
rm "$folder/elements.txt"

# Patients come from the headers, classes from the table.
data=dicom:$folder/studies,table=$folder/labels.csv
"$thorax" data describe --data "$data"

# A ResNet-18 of an eighth of the width: this is to be quick, not good. Without --config it is the whole network.
echo '{"model": {"model": "resnet18", "in_channels": 1, "head": "study", "hidden": [16], "outputs": 1, "stem": 8, "width": 8}}' > "$folder/small.json"
"$thorax" kfold classifier --data "$data" --config "$folder/small.json" --size 64 --batch 8 --epochs 2 --augment none --folds 2 \
  --heatmaps 0 --out "$folder/kfold"

# A row an image, in a table for other programs.
"$thorax" predict "$folder/studies" --classifier "$folder/kfold/fold_0/last.safetensors" --csv "$folder/predictions.csv"
[ "$(wc -l < "$folder/predictions.csv")" -eq 17 ]

# Lungs by a UNet that has learnt on phantoms, as objects that a DICOM viewer lays over the images.
"$thorax" data phantoms --patients 12 --size 64 --seed 1 --out "$folder/phantoms"
echo '{"model": {"model": "unet", "width": 4, "depth": 3}}' > "$folder/unet.json"
"$thorax" train segmenter --data "manifest:$folder/phantoms/manifest.csv" --config "$folder/unet.json" --size 64 --epochs 16 --batch 4 \
  --augment none --out "$folder/lungs"
"$thorax" segment "$folder/studies" --model "$folder/lungs/last.safetensors" --min-area 1 --format dicom-seg --out "$folder/cut"
ls "$folder/cut/segmentations"
