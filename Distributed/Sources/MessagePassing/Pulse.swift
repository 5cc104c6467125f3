import CMPI
import Glibc

/// Says that a rank lives while it computes: a thread that tells the others every now and then how far this
/// one has come, and listens to them.
///
/// MPI is called by one thread at a time: whoever calls it holds the lock.
final class Pulse: @unchecked Sendable {
  private let comm: attn_mpi_comm
  private let rank: Int
  private let size: Int
  private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private var thread: pthread_t?

  // All below is under the lock.
  private var silence: Silence
  private var interval: Double
  private var isEnding = false
  /// Grows with all that this rank's own thread does with messages.
  private var count: UInt64 = 0
  /// Requests by rank: a count that comes, and the last one that went.
  private var hearing: [attn_mpi_request]
  private var beating: [attn_mpi_request?]
  /// `[size]` counts that come, then as many that go.
  private let counts: UnsafeMutableBufferPointer<UInt64>

  /// Messages of the program have lower tags.
  private static let tag: Int32 = 30_000

  init(_ comm: attn_mpi_comm, timeLimit: Double) throws(MessagePassingError) {
    self.comm = comm
    rank = Int(attn_mpi_rank(comm))
    size = Int(attn_mpi_size(comm))
    interval = Self.interval(timeLimit)
    silence = Silence(ranks: size, longestStep: 2 * interval, now: monotonicSeconds())
    counts = .allocate(capacity: 2 * size)
    counts.initialize(repeating: 0)
    hearing = Array(repeating: attn_mpi_request(), count: size)
    beating = Array(repeating: nil, count: size)
    pthread_mutex_init(lock, nil)
    for peer in 0..<size where peer != rank { try listen(to: peer) }
    guard size > 1 else { return }
    var thread = pthread_t()
    let code = pthread_create(
      &thread, nil,
      { argument in
        guard let argument else { return nil }
        Unmanaged<Pulse>.fromOpaque(argument).takeUnretainedValue().beat()
        return nil
      }, Unmanaged.passUnretained(self).toOpaque())
    guard code == 0 else {
      throw .refused(call: "pthread_create", text: "error \(code)")
    }
    self.thread = thread
  }

  deinit {
    end()
    pthread_mutex_destroy(lock)
    lock.deallocate()
    counts.deallocate()
  }

  private static func interval(_ timeLimit: Double) -> Double {
    min(max(timeLimit / 50, 0.02), 1)
  }

  /// Calls MPI for this rank's own thread.
  func call<Value>(
    _ body: () throws(MessagePassingError) -> Value
  ) throws(MessagePassingError) -> Value {
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    count &+= 1
    return try body()
  }

  /// Says that this rank's own thread goes on, without a message.
  func moved() {
    pthread_mutex_lock(lock)
    count &+= 1
    pthread_mutex_unlock(lock)
  }

  /// Another limit, from now on.
  func restart(timeLimit: Double) {
    pthread_mutex_lock(lock)
    interval = Self.interval(timeLimit)
    silence = Silence(ranks: size, longestStep: 2 * interval, now: monotonicSeconds())
    pthread_mutex_unlock(lock)
  }

  /// The rank that has been silent longest, and the one that has not moved on for longest.
  func worst() -> (silent: (rank: Int, seconds: Double)?, still: (rank: Int, seconds: Double)?) {
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    return (
      Silence.longest(silence.seconds, but: rank), Silence.longest(silence.still, but: rank)
    )
  }

  /// Stops telling and listening.
  func end() {
    guard let thread else { return }
    pthread_mutex_lock(lock)
    isEnding = true
    pthread_mutex_unlock(lock)
    pthread_join(thread, nil)
    self.thread = nil
    for peer in 0..<size where peer != rank { attn_mpi_cancel(&hearing[peer]) }
  }

  private func beat() {
    while true {
      pthread_mutex_lock(lock)
      let pause = interval / 2
      let isOver = isEnding
      // What MPI refuses here it refuses the other thread as well, which says so.
      if !isOver { try? exchange() }
      pthread_mutex_unlock(lock)
      if isOver { return }
      nap(microseconds: Int(pause * 1e6))
    }
  }

  private func exchange() throws(MessagePassingError) {
    for peer in 0..<size where peer != rank {
      // More than one may have come.
      while try isDone(&hearing[peer]) {
        silence.heard(peer, count: counts[peer])
        try listen(to: peer)
      }
    }
    silence.looked(at: monotonicSeconds())
    for peer in 0..<size where peer != rank {
      if var last = beating[peer] {
        let isGone = try isDone(&last)
        beating[peer] = last
        if !isGone { continue }
      }
      counts[size + peer] = count
      var request = attn_mpi_request()
      try check(
        attn_mpi_send(bytes(size + peer).baseAddress, 8, Int32(peer), Self.tag, comm, &request),
        "MPI_Isend")
      beating[peer] = request
    }
  }

  private func listen(to peer: Int) throws(MessagePassingError) {
    try check(
      attn_mpi_receive(
        bytes(peer).baseAddress, 8, Int32(peer), Self.tag, comm, &hearing[peer]), "MPI_Irecv")
  }

  private func isDone(_ request: inout attn_mpi_request) throws(MessagePassingError) -> Bool {
    var done: Int32 = 0
    try check(attn_mpi_test(&request, &done), "MPI_Test")
    return done != 0
  }

  private func bytes(_ index: Int) -> UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(
      UnsafeMutableBufferPointer(rebasing: counts[index..<index + 1]))
  }
}

/// Turns an error code into an error.
func check(_ code: Int32, _ call: String) throws(MessagePassingError) {
  if code == MPI_SUCCESS { return }
  let text = withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(ATTN_MPI_TEXT)) { text in
    text.initialize(repeating: 0)
    guard let base = text.baseAddress else { return "" }
    attn_mpi_error_text(code, base)
    return String(cString: base)
  }
  throw .refused(call: call, text: text)
}
