#!/usr/bin/env bash
# Installs thorax from build/ into a temporary folder, runs the installed command, and builds and runs
# a program (tests/package) that finds it with find_package(thorax) and with pkg-config.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -e build/CMakeCache.txt ] || { echo "check_package.sh: build first (tests/run.sh)" >&2; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cmake --build build
cmake --install build --prefix "$folder/prefix" >"$folder/install.log"
# Moved, so that nothing that still points to where it was installed first goes unnoticed.
mv "$folder/prefix" "$folder/thorax"
"$folder/thorax/bin/thorax" info
cmake -S tests/package -B "$folder/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$folder/thorax"
cmake --build "$folder/build"
"$folder/build/consumer"
# Every installed header finds what it includes among the installed ones; those of the simulator are for .cu files.
(cd "$folder/thorax/include/thorax" && find . -name '*.h' -not -path './engine/runtime/sim/*' | sort | sed 's|^\./\(.*\)|#include "\1"|') >"$folder/headers.cpp"
PKG_CONFIG_PATH=$(dirname "$(find "$folder/thorax" -name thorax.pc)") pkg-config --cflags thorax |
  xargs g++ -fopenmp -fsyntax-only "$folder/headers.cpp"
# The same program by pkg-config.
PKG_CONFIG_PATH=$(dirname "$(find "$folder/thorax" -name thorax.pc)")
export PKG_CONFIG_PATH
read -ra flags <<<"$(pkg-config --cflags --libs thorax)"
g++ -O1 tests/package/main.cpp "${flags[@]}" -o "$folder/consumer"
LD_LIBRARY_PATH=$(pkg-config --variable=libdir thorax) "$folder/consumer"
thorax=$folder/thorax/bin/thorax
# So does every header for kernels, in a .cu file for the simulated GPU, each by itself.
if grep -q '^set(THORAX_WITH_SIM ON)' "$(find "$folder/thorax" -name thoraxConfig.cmake)"; then
  read -ra cflags <<<"$(pkg-config --cflags thorax)"
  mkdir "$folder/kernels"
  (cd "$folder/thorax/include/thorax" && find . -name '*.cuh' -not -name launch_cuda.cuh | sort | sed 's|^\./||') |
    while read -r header; do
      printf '#include "%s"\n' "$header" >"$folder/kernels/${header//\//_}.cpp"
    done
  find "$folder/kernels" -name '*.cpp' -print0 | xargs -0 -P "$(nproc)" -n 4 g++ "${cflags[@]}" -fopenmp -fsyntax-only
fi
# The program that engine/PROGRAMMING.md is: #include lines and definitions in front, the rest in main.
awk '/^<!-- program -->$/ { marked = 1; next }
  marked && /^```cpp$/ { inside = 1; marked = 0; next }
  /^```/ { inside = 0 }
  inside' engine/PROGRAMMING.md >"$folder/page.cpp"
{ grep '^#include\|^using' "$folder/page.cpp"; echo 'int main() {'; grep -v '^#include\|^using' "$folder/page.cpp"; echo '}'; } >"$folder/program.cpp"
g++ -O1 "$folder/program.cpp" "${flags[@]}" -o "$folder/program"
(cd "$folder" && LD_LIBRARY_PATH=$(pkg-config --variable=libdir thorax) ./program) | tee "$folder/program.txt"
grep -q '^ \[4. 5. 6.\]\] f32 2x3 cpu$' "$folder/program.txt"
grep -q '^fc.weight 10x784$' "$folder/program.txt"
# The programs with the engine: built, run, and what they learned.
cmake -S apps/examples/engine -B "$folder/engine" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$folder/thorax"
cmake --build "$folder/engine"
export OMP_WAIT_POLICY=passive
"$folder/engine/digits_cnn" | tee "$folder/digits.txt"
awk '$1 == "accuracy" { found = 1; if ($2 < 0.95) exit 1 } END { if (!found) exit 1 }' "$folder/digits.txt"
"$folder/engine/autoencoder" | tee "$folder/autoencoder.txt"
awk '/noisy image/ { noisy = $NF } /reconstruction/ { left = $NF } END { if (!(left < noisy / 2)) exit 1 }' "$folder/autoencoder.txt"
"$folder/engine/custom_loss" | tee "$folder/custom_loss.txt"
awk '$1 == "dice" { found = 1; if ($2 < 0.9) exit 1 } END { if (!found) exit 1 }' "$folder/custom_loss.txt"
# A plugin with a kernel, built outside the tree, against NumPy.
cmake -S apps/examples/plugin -B "$folder/swish" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$folder/thorax"
cmake --build "$folder/swish"
"$thorax" --plugin "$folder/swish/swish.so" info | tee "$folder/plugin.txt" | grep -A2 '^plugin swish'
grep -q 'adds providers swish=cpu on cpu, swish=cuda on sim' "$folder/plugin.txt"
if python3 -c 'import numpy' 2>/dev/null || [ -n "${CI:-}" ]; then
  . tests/support/pypi_python.sh
  python_with build numpy numpy
  "$python" apps/examples/plugin/check.py "$thorax" "$folder/swish/swish.so" cpu sim sim:2
  # Memory shared with NumPy and, where it is installed, PyTorch.
  g++ -O1 -shared -fPIC apps/examples/embedding/dlpack_share.cpp "${flags[@]}" -o "$folder/libdlpack_share.so"
  LD_LIBRARY_PATH=$(pkg-config --variable=libdir thorax) "$python" apps/examples/embedding/dlpack_share.py "$folder/libdlpack_share.so"
else
  echo "check_package.sh: SKIPPED: the example plugin and DLPack against NumPy: python3 has no numpy"
fi
# The C interface: the examples in C and Python, on networks that saw a few phantoms.
library=$(dirname "$(find "$folder/thorax" -name libthorax_c.so)")
"$thorax" data phantoms --out "$folder/phantoms" --patients 6 --size 64 -q
"$thorax" train segmenter --data "manifest:$folder/phantoms/manifest.csv" --size 32 --width 4 --epochs 1 --batch 4 --out "$folder/lungs" -q
"$thorax" train classifier --data "manifest:$folder/phantoms/manifest.csv" --model resnet18 --size 32 --epochs 1 --batch 4 --out "$folder/covid" -q
lungs=$folder/lungs/last.safetensors
covid=$folder/covid/last.safetensors
image=$(find "$folder/phantoms/CXR_png" -name '*.png' | sort | head -n 1)
gcc -std=c11 -Wall -Wextra -Werror -pedantic -I"$folder/thorax/include" apps/examples/embedding/predict.c -L"$library" -lthorax_c -o "$folder/predict"
options="{\"classifier\": [\"$covid\"], \"segmenter\": [\"$lungs\"], \"min_area\": 0}"
LD_LIBRARY_PATH=$library "$folder/predict" "$options" "$image" | tee "$folder/predict.txt"
grep -q '^lungs: ' "$folder/predict.txt"
if LD_LIBRARY_PATH=$library "$folder/predict" '{"clasifier": []}' "$image" 2>"$folder/error.txt"; then exit 1; fi
grep -q 'clasifier' "$folder/error.txt"
# The same classifier in C++: the class that the command prints.
"$folder/engine/predict" "$covid" "$image" | tee "$folder/verdict.txt"
"$thorax" predict "$image" --classifier "$covid" --out "$folder/predicted" -q
grep -q "\"verdict\": *\"$(head -n 1 "$folder/verdict.txt")\"" "$folder/predicted/predictions.json"
# What the library says to the linker is its C interface and nothing else.
if nm -D --defined-only "$library/libthorax_c.so" | grep -v ' T thorax_'; then
  echo "check_package.sh: libthorax_c exports more than its interface" >&2
  exit 1
fi
if python3 -c 'import numpy' 2>/dev/null || [ -n "${CI:-}" ]; then
  . tests/support/pypi_python.sh
  python_with build numpy numpy
  "$python" -c "import numpy; numpy.save('$folder/image.npy', numpy.add.outer(numpy.arange(96) * 7 % 61, numpy.arange(80) * 13 % 97).astype('uint8'))"
  THORAX_LIBRARY=$library/libthorax_c.so.0 "$python" tests/package/c_interface.py "$thorax" "$lungs" "$covid" "$folder/image.npy" "$folder"
else
  echo "check_package.sh: SKIPPED: the example in Python: python3 has no numpy"
fi
[ "$(pkg-config --modversion thorax)" = "$("$folder/thorax/bin/thorax" --version)" ] ||
  { echo "check_package.sh: pkg-config and the program name different versions" >&2; exit 1; }
for file in man/man1/thorax.1.gz bash-completion/completions/thorax zsh/vendor-completions/_thorax fish/vendor_completions.d/thorax.fish; do
  [ -s "$folder/thorax/share/$file" ] || { echo "check_package.sh: share/$file is not installed" >&2; exit 1; }
done
if readelf -d "$folder/thorax/bin/thorax" | grep -F "$PWD"; then
  echo "check_package.sh: the installed command still points into the build tree" >&2
  exit 1
fi
echo "check_package.sh: the installed package works"
