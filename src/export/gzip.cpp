// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "export/gzip.h"

#include <zlib.h>

#include <utility>

#include "export/text.h"

namespace tarsier::exposition {
namespace {

constexpr int kGzipWindow = 15 + 16;  // 32 KiB, with a gzip header
constexpr int kMemoryLevel = 8;       // zlib's default

}  // namespace

void GzipStream::End::operator()(z_stream_s* stream) const {
  deflateEnd(stream);
  delete stream;
}

GzipStream::GzipStream(ChunkSource source, std::unique_ptr<z_stream_s, End> stream)
    : source_(std::move(source)),
      stream_(std::move(stream)),
      input_(std::make_unique<std::string>()) {}

Result<GzipStream> GzipStream::over(ChunkSource source, int level) {
  auto raw = std::make_unique<z_stream_s>();
  const int result =
      deflateInit2(raw.get(), level, Z_DEFLATED, kGzipWindow, kMemoryLevel, Z_DEFAULT_STRATEGY);
  if (result != Z_OK) {
    return fail(ErrorCode::unavailable,
                std::string("preparing gzip compression: ") + ::zError(result));
  }
  return GzipStream(std::move(source), std::unique_ptr<z_stream_s, End>(raw.release()));
}

bool GzipStream::next(std::string& chunk) {
  chunk.clear();
  if (done_) return false;
  chunk.resize(kChunkBytes);
  stream_->next_out = reinterpret_cast<Bytef*>(chunk.data());
  stream_->avail_out = static_cast<uInt>(chunk.size());
  while (stream_->avail_out > 0 && !done_) {
    if (stream_->avail_in == 0 && !at_end_) {
      at_end_ = !source_(*input_);
      if (at_end_) input_->clear();
      stream_->next_in = reinterpret_cast<Bytef*>(input_->data());
      stream_->avail_in = static_cast<uInt>(input_->size());
    }
    // Z_BUF_ERROR only says that this call could do nothing; the loop supplies what was missing.
    done_ = deflate(stream_.get(), at_end_ ? Z_FINISH : Z_NO_FLUSH) == Z_STREAM_END;
  }
  chunk.resize(kChunkBytes - stream_->avail_out);
  return true;
}

}  // namespace tarsier::exposition
