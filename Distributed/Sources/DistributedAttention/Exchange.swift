import MessagePassing

/// Messages that are all under way at once; who computes meanwhile calls `pump` now and then.
struct Exchange: ~Copyable {
  private let communicator: Communicator
  private var messages: [Message] = []
  private var done = 0

  init(_ communicator: Communicator) { self.communicator = communicator }

  /// Messages of one rank to another meet in the order in which both list them.
  mutating func send(
    _ bytes: UnsafeMutableRawBufferPointer, to peer: Int
  ) throws(MessagePassingError) {
    for part in bytes.parts {
      messages.append(
        try communicator.send(UnsafeRawBufferPointer(part), to: peer, tag: Tag.exchange))
    }
  }

  mutating func receive(
    _ bytes: UnsafeMutableRawBufferPointer, from peer: Int
  ) throws(MessagePassingError) {
    for part in bytes.parts {
      messages.append(try communicator.receive(into: part, from: peer, tag: Tag.exchange))
    }
  }

  /// Lets messages move.
  mutating func pump() throws(MessagePassingError) {
    try communicator.movesOn("computing on the own keys")
    for index in messages.indices[done...] { _ = try communicator.isDone(&messages[index]) }
    while done < messages.count, messages[done].isDone { done += 1 }
  }

  /// Waits until all are there.
  ///
  /// - Returns: the seconds waited.
  mutating func finish(_ waiting: String) throws(MessagePassingError) -> Double {
    let start = monotonicSeconds()
    try communicator.finish(&messages, waiting)
    done = 0
    return monotonicSeconds() - start
  }
}

/// What messages are told apart by.
enum Tag {
  static let exchange = 1
  static let keys = 2
  static let values = 3
  static let sentAt = 4
  static let state = 5
}

extension UnsafeMutableRawBufferPointer {
  /// Parts that MPI can count.
  fileprivate var parts: [UnsafeMutableRawBufferPointer] {
    let most = 1 << 30
    return stride(from: 0, to: count, by: most).map {
      UnsafeMutableRawBufferPointer(rebasing: self[$0..<Swift.min($0 + most, count)])
    }
  }
}
