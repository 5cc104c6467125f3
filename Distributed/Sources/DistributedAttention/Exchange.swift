import MessagePassing

/// Messages that are all under way at once; who computes meanwhile calls `pump` now and then.
struct Exchange: ~Copyable {
  private let communicator: Communicator
  private let link: LinkModel?
  private var messages: [Message] = []
  private var done = 0
  /// For a simulated link: when each rank began to send, then when this one began to send to each.
  private let times: DepartureTimes?
  /// Bytes by rank.
  private var received: [Int: Int] = [:]
  private var sent: [Int: Int] = [:]

  /// - Parameter link: one that is to be simulated: nothing is there sooner than it would bring it.
  init(_ communicator: Communicator, link: LinkModel? = nil) {
    self.communicator = communicator
    self.link = link
    times = link == nil ? nil : DepartureTimes(count: 2 * communicator.size)
  }

  /// Messages of one rank to another meet in the order in which both list them.
  mutating func send(
    _ bytes: UnsafeMutableRawBufferPointer, to peer: Int
  ) throws(MessagePassingError) {
    if let times, sent[peer] == nil {
      messages.append(
        try communicator.send(
          times.leaves(communicator.size + peer), to: peer, tag: Tag.sentAt))
    }
    sent[peer, default: 0] += bytes.count
    for part in bytes.parts {
      messages.append(
        try communicator.send(UnsafeRawBufferPointer(part), to: peer, tag: Tag.exchange))
    }
  }

  mutating func receive(
    _ bytes: UnsafeMutableRawBufferPointer, from peer: Int
  ) throws(MessagePassingError) {
    if let times, received[peer] == nil {
      messages.append(
        try communicator.receive(into: times.bytes(peer), from: peer, tag: Tag.sentAt))
    }
    received[peer, default: 0] += bytes.count
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

  /// Waits until all are there, by the simulated link too.
  ///
  /// - Returns: the seconds waited.
  mutating func finish(_ waiting: String) throws(MessagePassingError) -> Double {
    let start = monotonicSeconds()
    try communicator.finish(&messages, waiting)
    done = 0
    let arrival = arrival()
    (sent, received) = ([:], [:])
    try communicator.wait(waiting) { () throws(MessagePassingError) in
      monotonicSeconds() >= arrival
    }
    return monotonicSeconds() - start
  }

  /// When a simulated link would have brought the last of what comes and goes.
  private func arrival() -> Double {
    guard let link, let times else { return 0 }
    var (outward, inward, last) = (LinkQueue(link), LinkQueue(link), 0.0)
    for (peer, bytes) in sent.sorted(by: { $0.key < $1.key }) {
      last = max(
        last, outward.arrival(of: bytes, leaving: times[communicator.size + peer]))
    }
    for (peer, bytes) in received.sorted(by: { times[$0.key] < times[$1.key] }) {
      last = max(last, inward.arrival(of: bytes, leaving: times[peer]))
    }
    return last
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
