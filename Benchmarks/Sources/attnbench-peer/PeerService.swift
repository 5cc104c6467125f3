import Attention
import AttentionBench
import CLinuxCalls
import Foundation
import Glibc
import MachineTopology
import PeerProtocol
import TensorFiles

/// One case at a time, planned once and run as often as asked.
struct PeerService {
  private struct Work {
    let plan: any AttentionPlan
    let tensors: ProblemTensors
    let output: Tensor
    /// The state after the last token, where that is part of the work.
    let state: Tensor?
    let operands: AttentionOperands
  }

  /// Started by `hello`: starting threads is no part of the work.
  private var team: WorkerTeam?
  private var work: Work?

  mutating func answer(_ request: PeerRequest) throws -> any Encodable {
    switch request.command {
    case .hello: try hello(request.needed(\.places, "places"))
    case .serves: offer(try request.needed(\.case, "case"))
    case .prepare:
      try prepare(request.needed(\.case, "case"), request.needed(\.operands, "operands"))
    case .run: try run(warm: request.needed(\.warm, "warm"), request.needed(\.repeats, "repeats"))
    case .output: try save(request.needed(\.path, "path"))
    case .release, .quit: release()
    }
  }

  private mutating func hello(_ places: [[Int]]) throws -> PeerHello {
    try Self.keep(to: places.flatMap { $0 })
    // It finds only these CPUs allowed.
    let topology = try MachineTopology.host()
    let placement = try SweepPlacement(threads: places.count, binding: nil, topology: topology)
    team = try WorkerTeam(
      threads: placement.threads, binding: placement.binding, topology: topology)
    BLASLibrary.useOneThread()
    let run = RunMetadata.host(argv: [], options: [:], seed: 0, topology: topology)
    let commit = run.build.commit.map {
      " (\($0.prefix(7))\(run.build.dirty == true ? ", changed" : ""))"
    }
    return PeerHello(
      library: "attnbench", version: run.toolVersion + (commit ?? ""), isa: run.isaChosen,
      blasCore: run.blas.core)
  }

  private func offer(_ asked: PeerCase) -> PeerOffer {
    do {
      let strategy = try StrategyRegistry.standard.strategy(asked.strategy)
      let work = try strategy.work(for: problem(asked), threads: asked.threads)
      return PeerOffer(serves: true, scratchBytes: work.workspaceBytes)
    } catch {
      return PeerOffer(serves: false, reason: "\(error)")
    }
  }

  private mutating func prepare(
    _ asked: PeerCase, _ files: [String: String]
  ) throws -> PeerPrepared {
    work = nil
    guard let team else { throw PeerRequestError(description: "prepare: hello comes first") }
    let problem = try problem(asked)
    let strategy = try StrategyRegistry.standard.strategy(asked.strategy)
    let plan = try strategy.plan(for: problem, on: team)
    func source(_ name: String) throws -> FileProblem.Source {
      guard let path = files[name] else {
        throw PeerRequestError(description: "prepare: the operand \(name) is missing")
      }
      return FileProblem.Source(try NpyFile.read(path), name: path)
    }
    let declared = plan.declaredOperands
    let file = try FileProblem(query: source("query"), key: source("key"), value: source("value"))
      .adding(
        declared.map(\.name).filter { files[$0] != nil }.map { ($0, try source($0)) },
        declared: declared)
    let tensors = try file.tensors().stored(as: problem.storage).with(
      file.operands(declared, for: problem.shape))
    let output = try Tensor(problem.shape.output, elementType: problem.storage.query)
    // Resident before the first call, and NaN until then.
    output.bytes.update(repeating: 0xFF)
    let state = try asked.rule == nil ? nil : plan.stateShape.map { try Tensor($0) }
    var operands = AttentionOperands(tensors.views, output: output.mutableView)
    operands.finalState = state?.mutableView
    work = Work(plan: plan, tensors: tensors, output: output, state: state, operands: operands)
    return PeerPrepared(workspaceBytes: plan.workspaceBytes)
  }

  private func run(warm: Int, _ repeats: Int) throws -> PeerTimes {
    let work = try prepared()
    for _ in 0..<warm { try work.plan.run(work.operands) }
    var times = PeerTimes(wallNs: [], cpuNs: [])
    let clock = ContinuousClock()
    for _ in 0..<repeats {
      let before = ProcessActivity.current().cpuTime
      let elapsed = try clock.measure { try work.plan.run(work.operands) }
      times.wallNs.append(elapsed.nanoseconds)
      times.cpuNs.append((ProcessActivity.current().cpuTime - before).nanoseconds)
    }
    return times
  }

  private func save(_ path: String) throws -> PeerDone {
    let output = try Tensor(copying: prepared().output.view)
    let shape = output.shape
    let tensor = try HostTensor(shape: [shape.batch, shape.heads, shape.rows, shape.columns]) {
      _ = $0.update(from: output.elements)
    }
    try NpyFile.write(tensor, to: path)
    return PeerDone()
  }

  private mutating func release() -> PeerDone {
    work = nil
    return PeerDone()
  }

  private func prepared() throws -> Work {
    guard let work else { throw PeerRequestError(description: "nothing is prepared") }
    return work
  }

  private func problem(_ asked: PeerCase) throws -> AttentionProblem {
    let types = ElementType.allCases.filter(\.isFloatingPoint).map { Storage($0) }
    guard let elements = types.first(where: { $0.label == asked.dtype }) else {
      let known = types.map(\.label).joined(separator: ", ")
      throw PeerRequestError(description: "dtype \(asked.dtype): must be one of \(known)")
    }
    return try AttentionProblem(
      AttentionShape(
        batch: asked.batch, heads: asked.heads, kvHeads: asked.kvHeads, queryLength: asked.nQ,
        keyLength: asked.nKv, headDim: asked.headDim, valueDim: asked.valueDim),
      visibility: Visibility(causal: asked.causal), storage: elements)
  }

  /// Allows this process these CPUs alone, whatever the harness's own thread was bound to.
  private static func keep(to cpus: [Int]) throws {
    let failure = attn_keep_to_cpus(cpus.map(Int32.init(clamping:)), Int32(clamping: cpus.count))
    guard failure == 0 else {
      throw PeerRequestError(
        description: "hello: places \(cpus): \(String(cString: strerror(failure)))")
    }
  }
}

extension Duration {
  fileprivate var nanoseconds: Int64 {
    let (seconds, attoseconds) = components
    return seconds * 1_000_000_000 + attoseconds / 1_000_000_000
  }
}
