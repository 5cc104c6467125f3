import CHwloc
import Glibc
import SystemPackage

/// A joinable POSIX thread.
struct PosixThread: Sendable {
  /// Deep enough for any kernel, and short of 2 MiB so that transparent huge pages do not make
  /// every stack resident.
  private static let stackByteCount = 1 << 20

  private let handle: pthread_t

  /// Starts a thread.
  ///
  /// - Parameter name: shown by `top -H` and debuggers; Linux keeps 15 bytes.
  /// - Throws: ``TopologyError/system(call:_:)``, with EAGAIN where the process may not have more
  ///   threads.
  init(name: String, _ body: @escaping @Sendable () -> Void) throws(TopologyError) {
    var attributes = pthread_attr_t()
    try Self.check("pthread_attr_init", pthread_attr_init(&attributes))
    defer { pthread_attr_destroy(&attributes) }
    try Self.check(
      "pthread_attr_setstacksize", pthread_attr_setstacksize(&attributes, Self.stackByteCount))

    let start = Unmanaged.passRetained(Start(name: name, body: body))
    var handle = pthread_t()
    let code = pthread_create(
      &handle, &attributes,
      { argument in
        if let argument {
          Unmanaged<Start>.fromOpaque(argument).takeRetainedValue().run()
        }
        return nil
      }, start.toOpaque())
    if code != 0 { start.release() }
    try Self.check("pthread_create for \(name)", code)
    self.handle = handle
  }

  /// Whether this is the calling thread.
  var isCurrent: Bool { pthread_equal(handle, pthread_self()) != 0 }

  /// Waits until the thread has ended. Call it exactly once.
  func join() {
    let code = pthread_join(handle, nil)
    precondition(code == 0, "pthread_join failed: \(Errno(rawValue: code))")
  }

  private static func check(_ call: @autoclosure () -> String, _ code: Int32)
    throws(TopologyError)
  {
    guard code == 0 else { throw .system(call: call(), Errno(rawValue: code)) }
  }

  /// Carries the body over to the new thread.
  private final class Start: Sendable {
    let name: String
    let body: @Sendable () -> Void

    init(name: String, body: @escaping @Sendable () -> Void) {
      self.name = name
      self.body = body
    }

    func run() {
      // A name is a convenience: some containers refuse it, and that is no reason to fail.
      attn_set_thread_name(name)
      body()
    }
  }
}
