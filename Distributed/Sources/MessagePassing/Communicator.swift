import CMPI

/// One message on its way.
public struct Message {
  fileprivate var request: attn_mpi_request
  /// The other rank.
  public let peer: Int
  public let byteCount: Int
  /// Whether it has been seen to be done.
  public fileprivate(set) var isDone = false
}

/// All ranks of a run, as one of them sees them. For one thread.
///
/// Nothing waits without a limit. Ranks tell each other that they live, a byte at a time, whenever they
/// look after their messages; one that says nothing for `timeLimit` seconds of listening is named by the
/// error that the others get. Message Passing Interface Forum, "MPI: A Message-Passing Interface
/// Standard", 3.1, chapter 3 (non-blocking communication, progress).
public final class Communicator {
  /// This process, 0 ..< size.
  public let rank: Int
  /// How many processes there are.
  public let size: Int
  /// Seconds that a rank may be silent.
  public var timeLimit: Double {
    didSet { silence = newSilence() }
  }
  /// Bytes of the messages that this rank has sent; signs of life do not count.
  public private(set) var bytesSent = 0

  private let comm: attn_mpi_comm
  private var isOpen = true
  private var silence = Silence(ranks: 1, longestStep: 0, now: 0)
  private var nextBeat = 0.0
  private var nextListen = 0.0
  /// A byte for each rank to receive a sign of life into, and one to send.
  private let beats: UnsafeMutableBufferPointer<UInt8>
  private var hearing: [Message] = []
  private var beating: [Message?]

  /// Messages of the program have lower tags.
  private static let beatTag: Int32 = 30_000

  /// Starts MPI. Once a process.
  ///
  /// - Parameter timeLimit: seconds that a rank may be silent before the others give up.
  /// - Throws: `MessagePassingError.refused`.
  public init(timeLimit: Double = 300) throws(MessagePassingError) {
    guard attn_mpi_is_started() == 0 else {
      throw .refused(call: "MPI_Init", text: "it has been called before; keep the communicator")
    }
    var comm = attn_mpi_comm()
    try check(attn_mpi_start(&comm), "MPI_Init_thread")
    self.comm = comm
    rank = Int(attn_mpi_rank(comm))
    size = Int(attn_mpi_size(comm))
    self.timeLimit = timeLimit
    beats = .allocate(capacity: size + 1)
    beats.initialize(repeating: 0)
    beating = Array(repeating: nil, count: size)
    silence = newSilence()
    for peer in 0..<size where peer != rank { hearing.append(try listen(to: peer)) }
  }

  deinit { beats.deallocate() }

  /// What library this is: `Open MPI v4.1.4, ...`.
  public static var libraryVersion: String {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(ATTN_MPI_TEXT)) { text in
      text.initialize(repeating: 0)
      guard let base = text.baseAddress else { return "" }
      attn_mpi_library_text(base)
      return String(cString: base)
    }
  }

  /// Ends MPI, all ranks together.
  ///
  /// - Throws: `MessagePassingError` when a rank does not come.
  public func close() throws(MessagePassingError) {
    guard isOpen else { return }
    try barrier("waiting for all ranks to end")
    isOpen = false
    for index in hearing.indices { attn_mpi_cancel(&hearing[index].request) }
    try check(attn_mpi_finish(comm), "MPI_Finalize")
  }

  /// Ends all ranks at once, with `code` as their exit code. Does not return as a rule.
  public func abort(code: Int32) { attn_mpi_abort(comm, code) }

  /// Begins to send; the bytes must stay as they are until the message is done.
  ///
  /// - Throws: `MessagePassingError.refused`, `.tooLong`.
  public func send(
    _ bytes: UnsafeRawBufferPointer, to peer: Int, tag: Int
  ) throws(MessagePassingError) -> Message {
    let message = try post(bytes, to: peer, tag: Int32(tag))
    bytesSent += bytes.count
    return message
  }

  private func post(
    _ bytes: UnsafeRawBufferPointer, to peer: Int, tag: Int32
  ) throws(MessagePassingError) -> Message {
    guard let count = Int32(exactly: bytes.count) else { throw .tooLong(bytes: bytes.count) }
    var request = attn_mpi_request()
    try check(
      attn_mpi_send(bytes.baseAddress, count, Int32(peer), tag, comm, &request), "MPI_Isend")
    return Message(request: request, peer: peer, byteCount: bytes.count)
  }

  /// Begins to receive a message of at most so many bytes; messages of one rank and tag come in the order
  /// in which they were sent.
  ///
  /// - Throws: `MessagePassingError.refused`, `.tooLong`.
  public func receive(
    into bytes: UnsafeMutableRawBufferPointer, from peer: Int, tag: Int
  ) throws(MessagePassingError) -> Message {
    guard let count = Int32(exactly: bytes.count) else { throw .tooLong(bytes: bytes.count) }
    var request = attn_mpi_request()
    try check(
      attn_mpi_receive(bytes.baseAddress, count, Int32(peer), Int32(tag), comm, &request),
      "MPI_Irecv")
    return Message(request: request, peer: peer, byteCount: bytes.count)
  }

  /// Whether a message is done. Asking is what makes the library move it.
  ///
  /// - Throws: `MessagePassingError.refused`.
  public func isDone(_ message: inout Message) throws(MessagePassingError) -> Bool {
    if message.isDone { return true }
    var done: Int32 = 0
    try check(attn_mpi_test(&message.request, &done), "MPI_Test")
    message.isDone = done != 0
    return message.isDone
  }

  /// Gives and takes signs of life; to be called between pieces of work.
  ///
  /// - Throws: `MessagePassingError.refused`.
  public func live() throws(MessagePassingError) {
    let now = monotonicSeconds()
    if now < nextListen { return }
    nextListen = now + beatInterval / 4
    for index in hearing.indices where try isDone(&hearing[index]) {
      let peer = hearing[index].peer
      silence.heard(peer)
      hearing[index] = try listen(to: peer)
    }
    silence.looked(at: now)
    if now < nextBeat { return }
    nextBeat = now + beatInterval
    for peer in 0..<size where peer != rank {
      if var last = beating[peer] {
        let isGone = try isDone(&last)
        beating[peer] = last
        if !isGone { continue }
      }
      beating[peer] = try post(
        UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(beats)[size..<size + 1]), to: peer,
        tag: Self.beatTag)
    }
  }

  /// Waits until `isReady` says so, which is asked again and again and makes messages move.
  ///
  /// - Parameters:
  ///   - peer: the rank that is waited for.
  ///   - waiting: what is waited for, for messages: `waiting for keys of rank 3`.
  /// - Throws: `MessagePassingError.silent` naming the rank that has been silent for the time limit,
  ///   `.overdue` where all live but nothing comes in twenty times as long; what `isReady` throws.
  public func wait(
    for peer: Int, _ waiting: @autoclosure () -> String,
    until isReady: () throws(MessagePassingError) -> Bool
  ) throws(MessagePassingError) {
    if try isReady() { return }
    let start = monotonicSeconds()
    var listened = 0.0
    var last = start
    var rounds = 0
    while true {
      if try isReady() { return }
      try live()
      let now = monotonicSeconds()
      listened += min(now - last, beatInterval)
      last = now
      // Lower ranks speak first, so that as a rule only one does.
      let patience = timeLimit * (1 + 0.1 * min(Double(rank), 5))
      if let worst = silence.longest(but: rank), worst.seconds > patience {
        throw .silent(rank: worst.rank, seconds: worst.seconds, waiting: waiting())
      }
      if listened > 20 * patience {
        throw .overdue(rank: peer, seconds: listened, waiting: waiting())
      }
      rounds += 1
      // Large messages move a piece at a call; a long wait leaves the core to others.
      nap(microseconds: now - start < 0.002 ? 0 : 20)
    }
  }

  /// Waits for messages.
  ///
  /// - Throws: as `wait(for:_:until:)`.
  public func finish(
    _ messages: inout [Message], _ waiting: @autoclosure () -> String
  ) throws(MessagePassingError) {
    for index in messages.indices {
      try wait(for: messages[index].peer, waiting()) { () throws(MessagePassingError) in
        var isReady = true
        // All of them at a time: one may have to move for another to.
        for other in messages.indices[index...] where !(try isDone(&messages[other])) {
          if other == index { isReady = false }
        }
        return isReady
      }
    }
    messages.removeAll()
  }

  private var beatInterval: Double { min(max(timeLimit / 50, 0.02), 1) }

  private func newSilence() -> Silence {
    Silence(ranks: size, longestStep: beatInterval, now: monotonicSeconds())
  }

  private func listen(to peer: Int) throws(MessagePassingError) -> Message {
    try receive(
      into: UnsafeMutableRawBufferPointer(
        rebasing: UnsafeMutableRawBufferPointer(beats)[peer..<peer + 1]),
      from: peer, tag: Int(Self.beatTag))
  }
}

/// Turns an error code into an error.
private func check(_ code: Int32, _ call: String) throws(MessagePassingError) {
  if code == MPI_SUCCESS { return }
  let text = withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(ATTN_MPI_TEXT)) { text in
    text.initialize(repeating: 0)
    guard let base = text.baseAddress else { return "" }
    attn_mpi_error_text(code, base)
    return String(cString: base)
  }
  throw .refused(call: call, text: text)
}
