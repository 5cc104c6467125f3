import Glibc
import Synchronization

/// What C handles stand for: an object that the host holds by a number.
///
/// The number is all that the host has, so that a stale or invented handle is an error and not a
/// crash. Numbers are never used twice, also not across a fork, which is how a child tells its
/// parent's handles from its own.
final class HandleTable: Sendable {
  private let process: pid_t
  /// Handles below it were made before the fork that brought this process about.
  private let first: UInt
  private let objects = Mutex<[UInt: any AnyObject & Sendable]>([:])

  private init(process: pid_t) {
    self.process = process
    first = Self.next.load(ordering: .relaxed)
  }

  private static let next = Atomic<UInt>(1)
  /// The address of the present table; 0 before the first.
  private static let present = Atomic<UInt>(0)

  /// The table of this process. After a fork the child makes its own and leaves its parent's alone:
  /// another thread may have held its lock, and the teams in it have no threads to join.
  private static var current: HandleTable {
    let process = getpid()
    while true {
      let found = present.load(ordering: .acquiring)
      if let address = UnsafeRawPointer(bitPattern: found) {
        let table = Unmanaged<HandleTable>.fromOpaque(address).takeUnretainedValue()
        if table.process == process { return table }
      }
      let made = Unmanaged.passRetained(HandleTable(process: process))
      let (exchanged, _) = present.compareExchange(
        expected: found, desired: UInt(bitPattern: made.toOpaque()),
        ordering: .acquiringAndReleasing)
      if exchanged { return made.takeUnretainedValue() }
      made.release()
    }
  }

  /// A handle that stands for `object`.
  static func add(_ object: some AnyObject & Sendable) -> OpaquePointer? {
    let table = current
    let number = next.wrappingAdd(1, ordering: .relaxed).oldValue
    table.objects.withLock { $0[number] = object }
    return OpaquePointer(bitPattern: number)
  }

  /// What a handle stands for.
  ///
  /// - Throws: `InterfaceError` when it stands for nothing, for something else, or was made by the
  ///   parent of this process.
  static func object<Object: AnyObject & Sendable>(
    _ handle: OpaquePointer?, _ argument: String, as type: Object.Type = Object.self
  ) throws(InterfaceError) -> Object {
    guard let handle else { throw .null(argument) }
    let (table, number) = (current, UInt(bitPattern: handle))
    if number < table.first {
      throw InterfaceError(
        .forked,
        "\(argument): made before a fork, by the parent process, whose threads this one has not; "
          + "make another in this process")
    }
    guard let object = table.objects.withLock({ $0[number] }) as? Object else {
      throw InterfaceError(
        .invalidArgument,
        "\(argument): no such handle; it was destroyed, or is none of this library")
    }
    return object
  }

  /// Forgets a handle; one that stands for nothing, or is the parent's, is left alone.
  static func remove<Object: AnyObject & Sendable>(_ handle: OpaquePointer?, as type: Object.Type) {
    guard let handle else { return }
    let number = UInt(bitPattern: handle)
    // Taken out under the lock and released after it: the last plan of a team joins threads.
    let removed = current.objects.withLock { objects -> (any AnyObject & Sendable)? in
      objects[number] is Object ? objects.removeValue(forKey: number) : nil
    }
    withExtendedLifetime(removed) {}
  }
}
