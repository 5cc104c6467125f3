import Dispatch
import Foundation
import MachineTopology
import Synchronization
import Testing

/// Counts the calls of each worker in memory that no lock guards: only the team's own ordering
/// makes the counts right.
private final class CountingJob: TeamJob, @unchecked Sendable {
  let counts: UnsafeMutableBufferPointer<Int>

  init(workers: Int) {
    counts = .allocate(capacity: workers)
    counts.initialize(repeating: 0)
  }

  deinit { counts.deallocate() }

  func work(worker: Int) { counts[worker] += 1 }
}

/// Does what the closure says.
private final class ClosureJob: TeamJob {
  private let body: @Sendable (Int) -> Void

  init(_ body: @escaping @Sendable (Int) -> Void) { self.body = body }

  func work(worker: Int) { body(worker) }
}

/// What `/proc` says of the calling thread: a second opinion on hwloc's.
private func affinityOfThisThread() -> String {
  let status = (try? String(contentsOfFile: "/proc/thread-self/status", encoding: .utf8)) ?? ""
  let line = status.split(separator: "\n").first { $0.hasPrefix("Cpus_allowed_list:") }
  return line?.split(whereSeparator: \.isWhitespace).last.map(String.init) ?? ""
}

private func nameOfThisThread() -> String {
  let name = (try? String(contentsOfFile: "/proc/thread-self/comm", encoding: .utf8)) ?? ""
  return name.trimmingCharacters(in: .whitespacesAndNewlines)
}

/// What `value` gives on each worker.
private func onEachWorker<Value: Sendable>(
  of team: WorkerTeam, _ value: @escaping @Sendable () -> Value
) -> [Value] {
  let values = Box(Mutex<[Int: Value]>([:]))
  team.run(ClosureJob { worker in values.value.withLock { $0[worker] = value() } })
  return values.value.withLock { found in found.sorted { $0.key < $1.key }.map(\.value) }
}

private final class Box<Value: ~Copyable & Sendable>: Sendable {
  let value: Value

  init(_ value: consuming Value) { self.value = value }
}

@Suite("The team of pinned workers", .serialized)
struct WorkerTeamTests {
  /// Up to two allowed cores, and the sets that their workers must read back.
  private let cores: [MachineTopology.Core]
  private let places: [CPUSet]

  init() throws {
    let host = try MachineTopology.host()
    cores = Array(host.allowedCores.prefix(2))
    places = cores.map { $0.cpuSet.intersection(host.allowed) }
  }

  private var binding: ThreadBinding { .cores(cores.map(\.index)) }

  @Test(arguments: [1, 2, 3, 5])
  func `every worker works once a run`(threads: Int) throws {
    let team = try WorkerTeam(threads: threads)
    #expect(team.threadCount == threads)
    let job = CountingJob(workers: threads)
    var wrong = 0
    for run in 1...10_000 {
      team.run(job)
      if !job.counts.allSatisfy({ $0 == run }) { wrong += 1 }
    }
    #expect(wrong == 0)
  }

  @Test(arguments: [2, 3])
  func `sleeping helpers wake up, and a sleeping leader too`(threads: Int) throws {
    let team = try WorkerTeam(threads: threads)
    let job = CountingJob(workers: threads)
    // Longer than any spinning, so that all hand-overs go through the kernel.
    let slowHelpers = ClosureJob { worker in if worker > 0 { usleep(300) } }
    for _ in 1...200 {
      usleep(300)
      team.run(job)
      team.run(slowHelpers)
    }
    #expect(job.counts.allSatisfy { $0 == 200 })
  }

  @Test(arguments: [1, 2, 3])
  func `callers on several threads take turns`(threads: Int) throws {
    let team = try WorkerTeam(threads: threads)
    let job = CountingJob(workers: threads)
    DispatchQueue.concurrentPerform(iterations: 4) { _ in
      for _ in 1...500 { team.run(job) }
    }
    #expect(job.counts.allSatisfy { $0 == 2000 })
  }

  @Test func `jobs of different types follow one another`() throws {
    let team = try WorkerTeam(threads: 2)
    let total = Box(Atomic<Int>(0))
    for _ in 1...100 {
      let job = CountingJob(workers: 2)
      team.run(job)
      team.run(
        ClosureJob { worker in total.value.add(worker + job.counts[worker], ordering: .relaxed) })
    }
    #expect(total.value.load(ordering: .relaxed) == 300)
  }

  @Test func `a job may run another team`() throws {
    let (outer, inner) = (try WorkerTeam(threads: 2), try WorkerTeam(threads: 2))
    let job = CountingJob(workers: 2)
    outer.run(ClosureJob { _ in inner.run(job) })
    #expect(job.counts.allSatisfy { $0 == 2 })
  }

  @Test func `workers are bound as asked, and say so`() throws {
    let team = try WorkerTeam(threads: cores.count, binding: binding)
    #expect(team.bindings == places)
    #expect(onEachWorker(of: team, affinityOfThisThread) == places.map(\.description))
  }

  @Test func `workers bound to a node share its set`() throws {
    let host = try MachineTopology.host()
    let node = try #require(host.allowedPlaces.numaNodes.first)
    let team = try WorkerTeam(threads: 3, binding: .numaNodes([node]))
    let set = try host.cpuSet(for: .numaNodes([node]), worker: 0, of: 3)
    #expect(team.bindings == [set, set, set])
    #expect(Set(onEachWorker(of: team, affinityOfThisThread)) == [set?.description])
  }

  @Test func `the creator gets its binding back`() throws {
    let before = affinityOfThisThread()
    do {
      let team = try WorkerTeam(threads: 1, binding: .cores([cores[0].index]))
      #expect(team.bindings == [places[0]])
      #expect(affinityOfThisThread() == places[0].description)
    }
    #expect(affinityOfThisThread() == before)
  }

  @Test func `the creator gets its binding back when another thread ends the team`() throws {
    let before = affinityOfThisThread()
    let handOver = Box(
      Mutex<WorkerTeam?>(try WorkerTeam(threads: 1, binding: .cores([cores[0].index]))))
    #expect(affinityOfThisThread() == places[0].description)
    let thread = Thread { handOver.value.withLock { $0 = nil } }
    thread.start()
    while !thread.isFinished { usleep(1000) }
    #expect(affinityOfThisThread() == before)
  }

  @Test func `without a binding nobody is moved`() throws {
    let before = affinityOfThisThread()
    let team = try WorkerTeam(threads: 3)
    #expect(team.bindings == [nil, nil, nil])
    #expect(onEachWorker(of: team, affinityOfThisThread) == [before, before, before])
  }

  @Test func `helpers have names`() throws {
    let team = try WorkerTeam(threads: 3)
    #expect(
      onEachWorker(of: team, nameOfThisThread).dropFirst() == ["attn-worker-1", "attn-worker-2"])
  }

  @Test func `a binding that reads back differently is an error unless best effort`() throws {
    // Binding on a synthetic machine does nothing and reads back as the whole machine.
    let fake = try MachineTopology(synthetic: "core:4 pu:1")
    let before = affinityOfThisThread()
    #expect(
      throws: TopologyError.bindingNotHonoured(
        worker: 0, asked: CPUSet([0]), actual: CPUSet(0..<4))
    ) {
      try WorkerTeam(threads: 2, binding: .cores([0, 1]), topology: fake)
    }
    #expect(affinityOfThisThread() == before)

    let team = try WorkerTeam(
      threads: 2, binding: .cores([0, 1]), topology: fake, bestEffort: true)
    #expect(team.bindings == [CPUSet(0..<4), CPUSet(0..<4)])
    let job = CountingJob(workers: 2)
    team.run(job)
    #expect(job.counts.allSatisfy { $0 == 1 })
  }

  @Test(arguments: [0, -1])
  func `a team needs a worker`(threads: Int) throws {
    let places = try MachineTopology.host().allowedPlaces
    #expect(throws: TopologyError.invalidThreadCount(threads, allowed: places)) {
      try WorkerTeam(threads: threads)
    }
  }

  @Test(arguments: [
    ThreadBinding.cores([60_000]), .cores([0, 60_000]), .processingUnits([60_000, 0]),
    .numaNodes([60_000]), .cores([0]),
  ])
  func `best effort goes on unbound where places are missing or too few`(
    binding: ThreadBinding
  ) throws {
    let topology = try MachineTopology.host()
    let before = affinityOfThisThread()
    #expect(throws: TopologyError.self) {
      try WorkerTeam(threads: 2, binding: binding, topology: topology)
    }
    let team = try WorkerTeam(threads: 2, binding: binding, topology: topology, bestEffort: true)
    #expect(team.bindings == [nil, nil])
    #expect(affinityOfThisThread() == before)
    let job = CountingJob(workers: 2)
    team.run(job)
    #expect(job.counts.allSatisfy { $0 == 1 })
    let usable = try topology.usableBinding(binding, workers: 2, bestEffort: true)
    #expect(usable.binding == .none && usable.refusal != nil)
  }

  @Test func `best effort is no excuse for what is no binding, nor for no workers`() throws {
    let topology = try MachineTopology.host()
    for (binding, threads) in [
      (ThreadBinding.cores([]), 1), (.cores([0, 0]), 1), (.none, 0), (.cores([0]), 5000),
    ] {
      #expect(throws: TopologyError.self) {
        try WorkerTeam(threads: threads, binding: binding, topology: topology, bestEffort: true)
      }
    }
  }

  @Test func `a thread that cannot be started is an error, and those before it end`() async {
    await #expect(processExitsWith: .success) {
      _ = try MachineTopology.host()
      // Room for a few stacks of 1 MiB, not for 200.
      let pages = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
        .split(separator: " ").first.flatMap { Int($0) }
      let size = try #require(pages) * Int(sysconf(Int32(_SC_PAGESIZE)))
      let room = rlim_t(size + 24 << 20)
      var limit = rlimit(rlim_cur: room, rlim_max: room)
      try #require(setrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0)
      let error = #expect(throws: TopologyError.self) { try WorkerTeam(threads: 200) }
      guard case .system(let call, let code) = error else { exit(1) }
      #expect(call.hasPrefix("pthread_create for attn-worker-"))
      #expect(code.rawValue == EAGAIN || code.rawValue == ENOMEM)
      // The process is as good as before.
      let team = try WorkerTeam(threads: 2)
      let job = CountingJob(workers: 2)
      team.run(job)
      #expect(job.counts.allSatisfy { $0 == 1 })
    }
  }

  @Test(arguments: [0, 1])
  func `a job that runs its own team is stopped with a message`(worker: Int) async throws {
    let result = await #expect(
      processExitsWith: .failure, observing: [\.standardErrorContent]
    ) { [worker] in
      let team = try WorkerTeam(threads: 2)
      let inner = CountingJob(workers: 2)
      team.run(ClosureJob { if $0 == worker { team.run(inner) } })
    }
    let message = String(decoding: try #require(result).standardErrorContent, as: UTF8.self)
    #expect(message.contains("WorkerTeam.run was called by a job of the same team"))
  }
}

@Suite("The queue of tasks")
struct TaskQueueTests {
  @Test func `tasks come in order, then nothing`() {
    let queue = TaskQueue(count: 2)
    #expect([queue.next(), queue.next(), queue.next(), queue.next()] == [0, 1, nil, nil])
    queue.reset(count: 1)
    #expect([queue.next(), queue.next()] == [0, nil])
    #expect(TaskQueue().next() == nil)
  }

  @Test func `every task is dealt to exactly one worker`() throws {
    let team = try WorkerTeam(threads: 3)
    let queue = TaskQueue()
    let dealt = CountingJob(workers: 1000)
    for run in 1...50 {
      queue.reset(count: 1000)
      team.run(ClosureJob { _ in while let task = queue.next() { dealt.work(worker: task) } })
      #expect(dealt.counts.allSatisfy { $0 == run })
    }
  }

  @Test func `a worker gets its own share first and then what others left`() {
    let queue = HomeTaskQueue(workers: 2)
    #expect(queue.next(for: 1) == nil)
    queue.reset(count: 5)
    #expect((0..<3).map { _ in queue.next(for: 1) } == [2, 3, 4])
    #expect(queue.next(for: 0) == 0)
    #expect([queue.next(for: 1), queue.next(for: 0), queue.next(for: 1)] == [1, nil, nil])
  }

  @Test(arguments: [0, 1, 2, 1000])
  func `homes or not, every task is dealt to exactly one worker`(count: Int) throws {
    let team = try WorkerTeam(threads: 3)
    let queue = HomeTaskQueue(workers: 3)
    let dealt = CountingJob(workers: count)
    for run in 1...20 {
      queue.reset(count: count)
      team.run(
        ClosureJob { worker in
          while let task = queue.next(for: worker) { dealt.work(worker: task) }
        })
      #expect(dealt.counts.allSatisfy { $0 == run })
    }
  }
}
