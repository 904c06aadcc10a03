// Which vector instructions the kernels may use on this machine.
#pragma once

namespace thorax {

// Whether the 16-lane kernels are to run: the processor has AVX-512 (x86-64-v4) and the environment
// does not say THORAX_ISA=avx2. The bits are the same either way (tests/determinism.sh); the switch
// exists to show that, and to measure. Throws Error "[kernels] THORAX_ISA=..." for any other value
// than avx2 and avx512; avx512 does not give a processor what it lacks.
bool use_avx512();

}  // namespace thorax
