#!/usr/bin/env bash
# Networks that answer programs: train small ones, serve them, send images with curl, keep what comes back.
#
#   apps/examples/workflows/serve_images.sh [FOLDER] [THORAX]
#
# FOLDER (default serve-run) is made; THORAX is the program (default: thorax), built with cpp-httplib. In FOLDER lie then
# prediction.json (what `thorax predict --json` prints) and mask.png (the lungs).
set -euo pipefail
folder=${1:-serve-run} thorax=${2:-thorax}
mkdir "$folder"
for missing in "$(command -v curl >/dev/null || echo "curl (package curl)")" \
  "$("$thorax" info | grep -q '^the web server .* cpp-httplib' || echo "a build of thorax with cpp-httplib (package libcpp-httplib-dev)")"; do
  if [ -n "$missing" ]; then
    echo "SKIPPED: this workflow needs $missing" | tee "$folder/skipped.txt"
    exit 0
  fi
done

"$thorax" data phantoms --out "$folder/data" --patients 8 --max-images 1 --size 64 --seed 4
"$thorax" train segmenter --data "manifest:$folder/data/manifest.csv" --out "$folder/runs/lungs" \
  --width 4 --size 32 --epochs 3 --batch 2
"$thorax" kfold classifier --data "manifest:$folder/data/manifest.csv" --out "$folder/runs/covid" \
  --model resnet18 --size 32 --folds 2 --epochs 1 --batch 4

# Any free port; the first line says which. Open the address in a browser, too.
"$thorax" serve "$folder/runs" --port 0 --classifier "$folder/runs/covid" \
  --segmenter "$folder/runs/lungs/last.safetensors" --min-area 0 > "$folder/serve.txt" &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT
until grep -q '^http' "$folder/serve.txt"; do
  kill -0 "$server"
  sleep 0.1
done
url=$(sed -n 's|^\(http[^ ]*\)/ .*|\1|p' "$folder/serve.txt")

images=("$folder"/data/CXR_png/*.png)
# The bytes of a file.
curl --silent --show-error --fail --data-binary "@${images[0]}" "$url/api/predict?name=first.png" > "$folder/prediction.json"
cat "$folder/prediction.json"
# A form, as a browser sends it, and a picture out of the answer.
curl --silent --show-error --fail --form "image=@${images[1]}" "$url/api/predict?pictures=mask" |
  sed 's/.*"mask":"\([^"]*\)".*/\1/' | base64 --decode > "$folder/mask.png"
grep -q '"verdict":' "$folder/prediction.json"
[ "$(head -c 4 "$folder/mask.png" | tail -c 3)" = PNG ]

kill -TERM "$server"
wait "$server"
