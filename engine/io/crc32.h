// CRC-32 of ISO 3309 (polynomial 0x04C11DB7, reflected), as zip archives and PNG have it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace thorax {

std::uint32_t crc32(std::span<const std::byte> bytes);

}  // namespace thorax
