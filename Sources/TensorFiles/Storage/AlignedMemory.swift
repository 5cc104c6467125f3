#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Raw memory that may be refused. `UnsafeMutableRawPointer.allocate` would end the process
/// instead, and here the size comes from a file.
enum AlignedMemory {
  static let alignment = 64

  /// At least one line is taken, so that an empty tensor has an address, too.
  static func allocate(byteCount: Int) -> UnsafeMutableRawPointer? {
    var memory: UnsafeMutableRawPointer?
    let status = posix_memalign(&memory, alignment, max(byteCount, alignment))
    return status == 0 ? memory : nil
  }

  static func deallocate(_ memory: UnsafeMutableRawPointer?) {
    free(memory)
  }
}
