// Checksums that file formats prescribe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace thorax {

// CRC-32 of ISO 3309 (polynomial 0x04C11DB7, reflected), as zip archives and PNG have it.
std::uint32_t crc32(std::span<const std::byte> bytes);
// CRC-32C of RFC 3720 (polynomial 0x1EDC6F41, Castagnoli), as TensorBoard's event files have it.
std::uint32_t crc32c(std::string_view bytes);

}  // namespace thorax
