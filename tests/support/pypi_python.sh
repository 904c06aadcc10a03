# Sourced by the checks that hold results against a package from PyPI.
#   python_with BUILD "MODULES" PACKAGE...
# Sets `python`: the system's when it can import the comma-separated MODULES, else that of a virtual environment
# in BUILD, named after the check, with the PACKAGEs. Where neither is possible it says so and ends the check well.
python_with() {
  local build=$1 modules=$2 check venv
  shift 2
  check=$(basename "$0") venv=$build/${check%.sh}-venv
  python=python3
  if "$python" -c "import $modules" 2>/dev/null; then return 0; fi
  if ! { python3 -m venv "$venv" && "$venv/bin/pip" install -q "$@"; } >"$venv.log" 2>&1; then
    tail -n 3 "$venv.log"
    echo "$check: SKIPPED: $* can be neither imported nor installed from PyPI"
    exit 0
  fi
  python=$venv/bin/python3
}
