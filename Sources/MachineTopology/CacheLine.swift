/// Owns one value that shares its cache lines with nothing else, so that threads which write it do
/// not slow down those that read its neighbours (false sharing).
struct CacheLine<Value: ~Copyable>: ~Copyable {
  /// Two lines of 64 bytes: x86 prefetches lines in pairs, and some ARM cores have lines of 128.
  private static var alignment: Int { 128 }

  let pointer: UnsafeMutablePointer<Value>

  init(_ value: consuming Value) {
    let size = MemoryLayout<Value>.size
    let memory = UnsafeMutableRawPointer.allocate(
      byteCount: (max(size, 1) + Self.alignment - 1) / Self.alignment * Self.alignment,
      alignment: Self.alignment)
    pointer = memory.bindMemory(to: Value.self, capacity: 1)
    pointer.initialize(to: value)
  }

  deinit {
    pointer.deinitialize(count: 1)
    UnsafeMutableRawPointer(pointer).deallocate()
  }
}

// The pointer is never replaced and its memory is freed with its only owner; whether threads may
// share the value is the value's own affair.
extension CacheLine: @unchecked Sendable where Value: ~Copyable & Sendable {}
