/// Owner of `count` uninitialised fp32 values on a 64-byte boundary, a cache line and the widest
/// vector register.
struct AlignedFloats: ~Copyable {
  let elements: UnsafeMutableBufferPointer<Float>

  /// Nil when the memory cannot be had.
  init?(count: Int) {
    let (bytes, overflow) = count.multipliedReportingOverflow(by: MemoryLayout<Float>.stride)
    guard !overflow, let memory = AlignedMemory.allocate(byteCount: bytes) else { return nil }
    elements = UnsafeMutableBufferPointer(
      start: memory.bindMemory(to: Float.self, capacity: count), count: count)
  }

  deinit {
    AlignedMemory.deallocate(UnsafeMutableRawPointer(elements.baseAddress))
  }
}
