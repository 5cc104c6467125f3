import CLinuxCalls
import Glibc

/// A program with pipes to its standard input and output, in a process group of its own.
///
/// Whatever of the group still runs is killed when the value's owner calls `kill`; if this process
/// dies first, the kernel hangs up on a stopped group and the others read the end of their input.
final class ChildProcess {
  let identifier: pid_t
  private let input: Int32
  private let output: Int32
  private var unread: [UInt8] = []
  private var isReaped = false
  /// An answer is a line of numbers; one that is longer than this never ends.
  private static let longestLine = 1 << 20

  /// Starts a program.
  ///
  /// - Parameters:
  ///   - command: its path and arguments.
  ///   - log: the file that its standard error is appended to.
  /// - Throws: `PeerError.notStarted`.
  init(_ command: [String], log: String) throws(PeerError) {
    _ = Self.ignoresBrokenPipes
    let program = command.first ?? ""
    var (toChild, fromChild): ([Int32], [Int32]) = ([-1, -1], [-1, -1])
    var failure = attn_private_pipe(&toChild)
    if failure == 0 { failure = attn_private_pipe(&fromChild) }
    guard failure == 0 else {
      for end in toChild where end >= 0 { close(end) }
      throw .notStarted(program: program, errno: failure)
    }
    var files = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&files)
    posix_spawn_file_actions_adddup2(&files, toChild[0], 0)
    posix_spawn_file_actions_adddup2(&files, fromChild[1], 1)
    posix_spawn_file_actions_addopen(&files, 2, log, O_WRONLY | O_CREAT | O_APPEND, 0o666)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    // Its own group, so that an interrupt from the terminal reaches the harness alone and stopping
    // it stops what it has started too; and signals as usual.
    var all = sigset_t()
    sigfillset(&all)
    posix_spawnattr_setsigdefault(&attributes, &all)
    posix_spawnattr_setpgroup(&attributes, 0)
    posix_spawnattr_setflags(
      &attributes, Int16(POSIX_SPAWN_SETPGROUP) | Int16(POSIX_SPAWN_SETSIGDEF))
    var arguments = command.map { strdup($0) } + [nil]
    var started: pid_t = 0
    failure = posix_spawnp(&started, program, &files, &attributes, &arguments, environ)
    for argument in arguments { free(argument) }
    posix_spawn_file_actions_destroy(&files)
    posix_spawnattr_destroy(&attributes)
    close(toChild[0])
    close(fromChild[1])
    (identifier, input, output) = (started, toChild[1], fromChild[0])
    guard failure == 0 else {
      isReaped = true
      throw .notStarted(program: program, errno: failure)
    }
  }

  deinit {
    kill()
    close(input)
    close(output)
  }

  /// Writing to a process that has ended is an error like others.
  private static let ignoresBrokenPipes: Void = { signal(SIGPIPE, SIG_IGN) }()

  /// Sends a line; false when nobody reads any more.
  func send(_ line: some Sequence<UInt8>) -> Bool {
    var rest = Array(line)[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { write(input, $0.baseAddress, $0.count) }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { return false }
      rest = rest.dropFirst(count)
    }
    return true
  }

  /// What came of waiting for a line.
  enum Heard: Equatable {
    case line([UInt8])
    case end
    case silence
    case endless
  }

  /// Waits for a line, at most so many seconds.
  func line(within seconds: Double) -> Heard {
    let deadline = Self.now + seconds
    var searched = 0
    while true {
      if let end = unread[searched...].firstIndex(of: UInt8(ascii: "\n")) {
        defer { unread.removeFirst(end + 1) }
        return .line(Array(unread[..<end]))
      }
      searched = unread.count
      if searched > Self.longestLine { return .endless }
      let left = deadline - Self.now
      if left <= 0 { return .silence }
      var waiting = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
      let ready = poll(&waiting, 1, Int32(min(left * 1e3 + 1, 1e6)))
      if ready <= 0 { continue }
      var part = [UInt8](repeating: 0, count: 1 << 16)
      let count = read(output, &part, part.count)
      if count < 0, errno == EINTR { continue }
      if count <= 0 { return .end }
      unread += part.prefix(count)
    }
  }

  /// Lets all threads run.
  func resume() { _ = Glibc.kill(-identifier, SIGCONT) }

  /// Stops all threads, and returns when they have stopped or the process has ended of itself.
  func stop() {
    guard !isReaped else { return }
    _ = Glibc.kill(-identifier, SIGSTOP)
    var info = siginfo_t()
    while waitid(P_PID, id_t(identifier), &info, WSTOPPED | WEXITED | WNOWAIT) != 0, errno == EINTR
    {}
  }

  /// Waits for the end of a process that has closed its output, and kills it if it does not come.
  ///
  /// - Returns: the exit status, or the signal that ended it as a negative number.
  func endStatus(within seconds: Double) -> Int32 {
    let deadline = Self.now + seconds
    var status: Int32 = 0
    while !isReaped {
      if waitpid(identifier, &status, WNOHANG) == identifier {
        isReaped = true
      } else if Self.now > deadline {
        return kill()
      } else {
        usleep(2_000)
      }
    }
    // What it had started is in its group still.
    _ = Glibc.kill(-identifier, SIGKILL)
    return Self.meaning(status)
  }

  /// Kills the process and all of its group, and waits for its end.
  @discardableResult
  func kill() -> Int32 {
    guard !isReaped else { return 0 }
    _ = Glibc.kill(-identifier, SIGKILL)
    var status: Int32 = 0
    while waitpid(identifier, &status, 0) < 0, errno == EINTR {}
    isReaped = true
    return Self.meaning(status)
  }

  /// As WIFSIGNALED, WTERMSIG and WEXITSTATUS take it apart.
  private static func meaning(_ status: Int32) -> Int32 {
    let signal = status & 0x7F
    return signal == 0 ? status >> 8 & 0xFF : -signal
  }

  private static var now: Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }
}
