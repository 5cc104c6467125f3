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
/// Nothing waits without a limit. A thread of each rank's tells the others that it lives and how far the rank
/// has come, also while it computes; who has said nothing for `timeLimit` seconds, or lives and has not
/// moved on in four times as long while all wait, is named by the error that the others get.
///
/// Message Passing Interface Forum, "MPI: A Message-Passing Interface Standard", 3.1, chapter 3
/// (non-blocking communication, progress).
public final class Communicator {
  /// This process, 0 ..< size.
  public let rank: Int
  /// How many processes there are.
  public let size: Int
  /// Seconds that a rank may be silent.
  public var timeLimit: Double {
    didSet { pulse.restart(timeLimit: timeLimit) }
  }
  /// Bytes of the messages that this rank has sent; signs of life do not count.
  public private(set) var bytesSent = 0

  private let comm: attn_mpi_comm
  private let pulse: Pulse
  private var isOpen = true

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
    pulse = try Pulse(comm, timeLimit: timeLimit)
  }

  /// What library this is: `Open MPI v4.1.4`, `MPICH Version: 4.0.2`.
  public static var libraryName: String {
    let words = libraryText.prefix { $0 != "," && $0 != "\n" }.split(whereSeparator: \.isWhitespace)
    return words.joined(separator: " ")
  }

  private static var libraryText: String {
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
    pulse.end()
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
    let message = try begin("MPI_Isend", bytes.count, peer) { count, request in
      attn_mpi_send(bytes.baseAddress, count, Int32(peer), Int32(tag), comm, &request)
    }
    bytesSent += bytes.count
    return message
  }

  /// Begins to receive a message of at most so many bytes; messages of one rank and tag come in the order
  /// in which they were sent.
  ///
  /// - Throws: `MessagePassingError.refused`, `.tooLong`.
  public func receive(
    into bytes: UnsafeMutableRawBufferPointer, from peer: Int, tag: Int
  ) throws(MessagePassingError) -> Message {
    try begin("MPI_Irecv", bytes.count, peer) { count, request in
      attn_mpi_receive(bytes.baseAddress, count, Int32(peer), Int32(tag), comm, &request)
    }
  }

  private func begin(
    _ name: String, _ byteCount: Int, _ peer: Int, _ call: (Int32, inout attn_mpi_request) -> Int32
  ) throws(MessagePassingError) -> Message {
    guard let count = Int32(exactly: byteCount) else { throw .tooLong(bytes: byteCount) }
    var request = attn_mpi_request()
    try pulse.call { () throws(MessagePassingError) in try check(call(count, &request), name) }
    return Message(request: request, peer: peer, byteCount: byteCount)
  }

  /// Whether a message is done. Asking is what makes the library move it.
  ///
  /// - Throws: `MessagePassingError.refused`.
  public func isDone(_ message: inout Message) throws(MessagePassingError) -> Bool {
    if message.isDone { return true }
    var done: Int32 = 0
    try pulse.call { () throws(MessagePassingError) in
      try check(attn_mpi_test(&message.request, &done), "MPI_Test")
    }
    message.isDone = done != 0
    return message.isDone
  }

  /// Says that this rank goes on, and looks whether the others live; to be called between pieces of long
  /// work, which would be for nothing.
  ///
  /// - Parameter working: what the work is, for messages.
  /// - Throws: `MessagePassingError.silent` as `wait(_:until:)`.
  public func movesOn(_ working: @autoclosure () -> String) throws(MessagePassingError) {
    pulse.moved()
    try expectSignsOfLife(working())
  }

  /// Lower ranks speak first, so that as a rule only one does.
  private var patience: Double { timeLimit * (1 + 0.1 * min(Double(rank), 5)) }

  private func expectSignsOfLife(
    _ waiting: @autoclosure () -> String
  ) throws(MessagePassingError) {
    if let silent = pulse.worst().silent, silent.seconds > patience {
      throw .silent(rank: silent.rank, seconds: silent.seconds, waiting: waiting())
    }
  }

  /// Waits until `isReady` says so, which is asked again and again and makes messages move.
  ///
  /// - Parameters:
  ///   - waiting: what is waited for, for messages: `keys of rank 3 come`.
  ///   - rest: seconds between two looks at least, where other threads measure on the same cores.
  /// - Throws: `MessagePassingError.silent` naming the rank that has been silent for the time limit,
  ///   `.overdue` naming one that lives and has not moved on in four times as long; what `isReady` throws.
  public func wait(
    _ waiting: @autoclosure () -> String, resting rest: Double = 0,
    until isReady: () throws(MessagePassingError) -> Bool
  ) throws(MessagePassingError) {
    let start = monotonicSeconds()
    var nextLook = start + 0.01
    while !(try isReady()) {
      let now = monotonicSeconds()
      // Large messages move a piece at a call; a long wait leaves the core to others.
      let pause = now - start < 0.002 ? 0 : now - start < 0.5 ? 20 : 200
      nap(microseconds: max(pause, Int(rest * 1e6)))
      if now < nextLook { continue }
      nextLook = now + 0.01
      try expectSignsOfLife(waiting())
      if let still = pulse.worst().still, still.seconds > 4 * patience, now - start > patience {
        throw .overdue(rank: still.rank, seconds: still.seconds, waiting: waiting())
      }
    }
  }

  /// Waits for messages.
  ///
  /// - Throws: as `wait(_:until:)`.
  public func finish(
    _ messages: inout [Message], _ waiting: @autoclosure () -> String
  ) throws(MessagePassingError) {
    var first = 0
    let count = messages.count
    try wait(waiting()) { () throws(MessagePassingError) in
      // All of them at a time: one may have to move for another to.
      for index in first..<count { _ = try isDone(&messages[index]) }
      while first < count, messages[first].isDone { first += 1 }
      return first == count
    }
    messages.removeAll()
  }
}
