import MachineTopology
import Synchronization
import Testing

/// Denormal numbers count as zeros while a job runs, on every thread of it and no longer.
@Suite struct DenormalNumberTests {
  /// What a floating-point unit makes of denormal numbers.
  private struct Unit: Sendable, Equatable {
    let dropsResults: Bool
    let dropsOperands: Bool

    /// The calling thread's.
    static var current: Unit {
      let normal = number(.leastNormalMagnitude)
      let denormal = number(0x1p-140)
      return Unit(
        dropsResults: normal * number(0.5) == 0, dropsOperands: denormal * number(0x1p100) == 0)
    }

    /// The same number, by way of a text, so that nothing is computed before the program runs.
    private static func number(_ x: Float) -> Float {
      Float(bitPattern: UInt32(String(x.bitPattern)) ?? 0)
    }

    static let ordinary = Unit(dropsResults: false, dropsOperands: false)
    static let flushing = Unit(dropsResults: true, dropsOperands: true)
  }

  private final class Probe: TeamJob {
    let found = Mutex<[Int: Unit]>([:])
    let inner: WorkerTeam?
    /// What is left on a worker after it ran a team of its own.
    let after = Mutex<[Unit]>([])

    init(inner: WorkerTeam? = nil) { self.inner = inner }

    func work(worker: Int) {
      found.withLock { $0[worker] = .current }
      if let inner, worker == 0 {
        inner.run(Probe())
        after.withLock { $0.append(.current) }
      }
    }
  }

  @Test(arguments: [1, 2, 5])
  func denormalsAreZerosInsideAJob(_ threads: Int) throws {
    #expect(Unit.current == .ordinary)
    let team = try WorkerTeam(threads: threads)
    for _ in 0..<3 {
      let probe = Probe()
      team.run(probe)
      let found = probe.found.withLock { $0 }
      #expect(found.count == threads && found.values.allSatisfy { $0 == .flushing })
      #expect(Unit.current == .ordinary)
    }
  }

  @Test func aTeamInsideAJobLeavesItsUnitAsItWas() throws {
    let (outer, inner) = (try WorkerTeam(threads: 2), try WorkerTeam(threads: 2))
    let probe = Probe(inner: inner)
    outer.run(probe)
    #expect(probe.after.withLock { $0 } == [.flushing])
    #expect(Unit.current == .ordinary)
  }
}
