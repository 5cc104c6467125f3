import Attention
import MessagePassing

/// Blocks of keys and values that come in one after the other while earlier ones are worked on.
///
/// Some blocks are under way at a time, in and out: the next one begins when a place is free. `pump` is
/// what moves them: MPI libraries may move large messages within calls only, Open MPI's shared memory among
/// them, so that the work is cut into pieces and the stream is pumped after each.
struct BlockStream: ~Copyable {
  /// A block that this rank sends.
  struct Outgoing {
    let peer: Int
    let key: HeadRows
    let value: HeadRows
  }

  /// A block that this rank receives.
  struct Incoming {
    let peer: Int
    let batch: Int
    let kvHead: Int
    /// Which keys of the whole sequence it has.
    let keys: [Segment]
  }

  /// How much of the communication the work hid.
  private(set) var counts = (blocks: 0, ready: 0, waitSeconds: 0.0)

  private let communicator: Communicator
  private let outgoing: [Outgoing]
  private let incoming: [Incoming]
  private let columns: (key: Int, value: Int)
  private let memory: [Tensor]
  private var sent: [[Message]?]
  private var received: [[Message]?]
  private var nextOut = 0
  private var firstOut = 0
  private var nextIn = 0
  private var taken = 0
  /// For a simulated link: when blocks were sent, of those that go and then of those that come; when it
  /// brings them; and when it brings the block whose turn it is.
  private let times: DepartureTimes?
  private var link: LinkQueue?
  private var arrival: Double?

  /// Blocks under way in each direction.
  static let window = 3

  /// - Parameter rows: of the longest block.
  /// - Throws: `AttentionError` of kind `outOfMemory`.
  init(
    _ communicator: Communicator, link: LinkModel?, outgoing: [Outgoing], incoming: [Incoming],
    rows: Int, columns: (key: Int, value: Int)
  ) throws(AttentionError) {
    var memory: [Tensor] = []
    for _ in 0..<(incoming.isEmpty ? 0 : Self.window) {
      memory.append(try Tensor(TensorShape(1, 1, 1, rows * (columns.key + columns.value))))
    }
    self.communicator = communicator
    self.link = link.map { LinkQueue($0) }
    times = link == nil ? nil : DepartureTimes(count: outgoing.count + incoming.count)
    self.outgoing = outgoing
    self.incoming = incoming
    self.columns = columns
    self.memory = memory
    sent = Array(repeating: nil, count: outgoing.count)
    received = Array(repeating: nil, count: incoming.count)
  }

  /// Bytes of the places for blocks.
  var workspaceBytes: Int { memory.reduce(0) { $0 + 4 * $1.shape.count } }

  /// Starts what has a place, and lets everything move.
  mutating func pump() throws(MessagePassingError) {
    try communicator.movesOn("keys and values go round")
    while nextIn < min(taken + memory.count, incoming.count) {
      received[nextIn] = try receive(nextIn)
      nextIn += 1
    }
    for index in firstOut..<nextOut { sent[index] = try underWay(sent[index]) }
    while firstOut < nextOut, sent[firstOut]?.isEmpty ?? true { firstOut += 1 }
    while nextOut < min(firstOut + Self.window, outgoing.count) {
      sent[nextOut] = try send(nextOut)
      nextOut += 1
    }
    for index in taken..<nextIn { received[index] = try underWay(received[index]) }
  }

  /// Waits for the next block and hands out its rows, which are there until the next call of `release`.
  mutating func next() throws(MessagePassingError) -> (
    block: Incoming, key: HeadRows, value: HeadRows
  )? {
    guard taken < incoming.count else { return nil }
    let index = taken
    let block = incoming[index]
    counts.blocks += 1
    try pump()
    if isHere(index) {
      counts.ready += 1
    } else {
      let start = monotonicSeconds()
      try waitUntil(peer: block.peer) { (stream) throws(MessagePassingError) in
        try stream.pump()
        return stream.isHere(index)
      }
      counts.waitSeconds += monotonicSeconds() - start
    }
    let rows = rows(of: index)
    return (block, rows.key, rows.value)
  }

  /// Gives back the place of the block that was handed out.
  mutating func release() {
    taken += 1
    arrival = nil
  }

  /// Waits until everything that this rank sends has gone.
  mutating func finish() throws(MessagePassingError) {
    guard let last = outgoing.last else { return }
    let start = monotonicSeconds()
    try waitUntil(peer: last.peer) { (stream) throws(MessagePassingError) in
      try stream.pump()
      return stream.firstOut == stream.outgoing.count
    }
    counts.waitSeconds += monotonicSeconds() - start
  }

  private mutating func waitUntil(
    peer: Int, _ isReady: (inout BlockStream) throws(MessagePassingError) -> Bool
  ) throws(MessagePassingError) {
    try communicator.wait("keys and values go round (with rank \(peer))") {
      () throws(MessagePassingError) in try isReady(&self)
    }
  }

  private func rows(of index: Int) -> (key: HeadRows, value: HeadRows) {
    let count = incoming[index].keys.rowCount
    let base = memory[index % memory.count].mutableView.base
    return (
      HeadRows(base: base, rows: count, columns: columns.key),
      HeadRows(base: base + count * columns.key, rows: count, columns: columns.value)
    )
  }

  private func send(_ index: Int) throws(MessagePassingError) -> [Message] {
    let block = outgoing[index]
    var messages: [Message] = []
    if let times {
      messages.append(
        try communicator.send(times.leaves(index), to: block.peer, tag: Tag.sentAt))
    }
    messages.append(
      try communicator.send(
        UnsafeRawBufferPointer(block.key.bytes), to: block.peer, tag: Tag.keys))
    messages.append(
      try communicator.send(
        UnsafeRawBufferPointer(block.value.bytes), to: block.peer, tag: Tag.values))
    return messages
  }

  private func receive(_ index: Int) throws(MessagePassingError) -> [Message] {
    let (peer, rows) = (incoming[index].peer, rows(of: index))
    var messages: [Message] = []
    if let times {
      messages.append(
        try communicator.receive(
          into: times.bytes(outgoing.count + index), from: peer, tag: Tag.sentAt))
    }
    messages.append(try communicator.receive(into: rows.key.bytes, from: peer, tag: Tag.keys))
    messages.append(try communicator.receive(into: rows.value.bytes, from: peer, tag: Tag.values))
    return messages
  }

  /// What of a block's messages is still under way.
  private func underWay(_ messages: [Message]?) throws(MessagePassingError) -> [Message]? {
    guard var open = messages, !open.isEmpty else { return messages }
    var left: [Message] = []
    for index in open.indices where !(try communicator.isDone(&open[index])) {
      left.append(open[index])
    }
    return left
  }

  /// Whether the block whose turn it is has come, by the simulated link too.
  private mutating func isHere(_ index: Int) -> Bool {
    guard received[index]?.isEmpty == true else { return false }
    guard let times else { return true }
    if arrival == nil {
      let bytes = rows(of: index).key.bytes.count + rows(of: index).value.bytes.count
      arrival = link?.arrival(of: bytes, leaving: times[outgoing.count + index])
    }
    return monotonicSeconds() >= arrival ?? 0
  }
}
