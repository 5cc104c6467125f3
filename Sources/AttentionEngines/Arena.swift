import Tensors

/// Elements somewhere in an arena, of a type that has nothing to release.
struct ArenaPart<Element: ~Copyable>: Sendable {
  fileprivate let offset: Int
  let count: Int
}

/// What an arena holds, worked out without allocating it: parts that begin at a cache line each.
struct ArenaLayout: Sendable {
  /// Bytes of the arena.
  private(set) var bytes = 0

  /// Adds a part of so many elements.
  mutating func add<Element: ~Copyable>(_ count: Int) -> ArenaPart<Element> {
    defer { bytes += (count * MemoryLayout<Element>.stride + 63) & ~63 }
    return ArenaPart(offset: bytes, count: count)
  }
}

/// The memory of a plan or of one of its workers: one aligned allocation of zeros, that a layout
/// carves.
///
/// Unchecked, as all memory that threads share: who writes a part when is for its users to say.
struct Arena: ~Copyable, @unchecked Sendable {
  private let memory: AlignedFloats

  /// - Parameter touched: whether the system is to back every page now.
  /// - Throws: `AttentionError` of kind `outOfMemory` naming `purpose`.
  init(
    _ layout: ArenaLayout, for purpose: String = "workspace", touched: Bool = true
  ) throws(AttentionError) {
    memory = try AlignedFloats(count: layout.bytes / 4, for: purpose, touched: touched)
  }

  /// The first element of a part.
  @inline(__always)
  subscript<Element: ~Copyable>(part: ArenaPart<Element>) -> UnsafeMutablePointer<Element> {
    (UnsafeMutableRawPointer(memory.base) + part.offset)
      .bindMemory(to: Element.self, capacity: part.count)
  }
}

/// What every worker has for itself.
///
/// Unchecked: a worker touches only its own.
struct PerWorker<Value>: @unchecked Sendable {
  private let values: [Value]

  init(
    _ threads: Int, _ make: () throws(AttentionError) -> Value
  ) throws(AttentionError) {
    var values: [Value] = []
    for _ in 0..<threads { values.append(try make()) }
    self.values = values
  }

  subscript(worker: Int) -> Value { values[worker] }
}
