/// The elements of a tensor, on a 64-byte boundary: a cache line and the widest vector register.
///
/// A class, so that a tensor in one form and the same tensor in another can share them; nobody
/// writes once the tensor is made.
final class TensorMemory: @unchecked Sendable {
  let bytes: UnsafeMutableRawBufferPointer

  /// Uninitialised memory for `count` elements; nil when it cannot be had.
  init?(count: Int, elementWidth: Int) {
    let (byteCount, overflow) = count.multipliedReportingOverflow(by: elementWidth)
    guard !overflow, let memory = AlignedMemory.allocate(byteCount: byteCount) else { return nil }
    bytes = UnsafeMutableRawBufferPointer(start: memory, count: byteCount)
  }

  deinit {
    AlignedMemory.deallocate(bytes.baseAddress)
  }
}
