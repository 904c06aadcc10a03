// One file compressed by gzip (RFC 1952), in memory.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace thorax {

bool is_gzip(std::span<const uint8_t> bytes);

// At most `size` of the first bytes that are compressed, of a file or its beginning; what cannot be
// unpacked is 0.
std::vector<uint8_t> gunzip_head(std::span<const uint8_t> bytes, size_t size);

// The whole; length and CRC-32 are compared. Throws Error "[decode] NAME: ..." when it is cut
// short, damaged, of several members, or unpacks to more than `max_bytes`.
std::vector<uint8_t> gunzip(std::span<const uint8_t> bytes, const std::string& name,
                            uint64_t max_bytes);

std::vector<uint8_t> gzip(const std::vector<uint8_t>& bytes);

}  // namespace thorax
