// The memory that an address of a simulated thread belongs to.
#pragma once

#include <cstdint>

namespace thorax::sim {

// As the calling thread sees it: the block's shared memory, the thread's own stack, or anything
// else.
enum class Space : std::uint8_t { global, shared, local };
Space space_of(const void* address);
// Instructions that exist for some spaces only. On a GPU such an access to another one faults or
// reads something else; here it throws Error "[sim] kernel: ..." naming thread and instruction.
void require_global(const void* address, const char* instruction);
void require_shared(const void* address, const char* instruction);
void refuse_local(const void* address, const char* instruction);

}  // namespace thorax::sim
