/// Small things that all ranks exchange: arguments, times, errors.
extension Communicator {
  private static let countTag = 29_000
  private static let bytesTag = 29_001

  /// What every rank gives, in the order of ranks, on all ranks.
  ///
  /// - Parameter waiting: what the exchange is for, for messages.
  /// - Throws: `MessagePassingError` as `wait(_:until:)`.
  /// - Complexity: two messages to every other rank.
  public func gatherAll(
    _ bytes: [UInt8], _ waiting: String = "exchanging a few bytes"
  ) throws(MessagePassingError) -> [[UInt8]] {
    let counts = UnsafeMutableBufferPointer<Int>.allocate(capacity: size)
    defer { counts.deallocate() }
    counts.initialize(repeating: bytes.count)
    let countBytes = UnsafeMutableRawBufferPointer(counts)
    let width = MemoryLayout<Int>.stride
    try exchange(
      countBytes, (0...size).map { $0 * width }, tag: Self.countTag, waiting)
    let starts = counts.reduce(into: [0]) { $0.append(($0.last ?? 0) + $1) }
    let all = UnsafeMutableRawBufferPointer.allocate(
      byteCount: max(starts[size], 1), alignment: 16)
    defer { all.deallocate() }
    for (index, byte) in bytes.enumerated() { all[starts[rank] + index] = byte }
    try exchange(all, starts, tag: Self.bytesTag, waiting)
    return (0..<size).map { Array(all[starts[$0]..<starts[$0 + 1]]) }
  }

  /// Sends the own part of a buffer to all others, and receives theirs.
  private func exchange(
    _ buffer: UnsafeMutableRawBufferPointer, _ starts: [Int], tag: Int, _ waiting: String
  ) throws(MessagePassingError) {
    var messages: [Message] = []
    func part(_ rank: Int) -> UnsafeMutableRawBufferPointer {
      UnsafeMutableRawBufferPointer(rebasing: buffer[starts[rank]..<starts[rank + 1]])
    }
    for peer in 0..<size where peer != rank {
      messages.append(try receive(into: part(peer), from: peer, tag: tag))
    }
    for peer in 0..<size where peer != rank {
      messages.append(try send(UnsafeRawBufferPointer(part(rank)), to: peer, tag: tag))
    }
    try finish(&messages, waiting)
  }

  /// What every rank gives, in the order of ranks, on all ranks.
  ///
  /// - Throws: as `gatherAll(_:_:)`.
  public func gatherAll(_ numbers: [Double]) throws(MessagePassingError) -> [[Double]] {
    let bytes = numbers.withUnsafeBytes { Array($0) }
    return try gatherAll(bytes).map { bytes in
      bytes.withUnsafeBytes { raw in
        (0..<bytes.count / 8).map { raw.loadUnaligned(fromByteOffset: 8 * $0, as: Double.self) }
      }
    }
  }

  /// Returns when all ranks have called it.
  ///
  /// - Throws: as `wait(_:until:)`.
  public func barrier(_ waiting: String = "waiting for all ranks") throws(MessagePassingError) {
    _ = try gatherAll([UInt8](), waiting)
  }
}
