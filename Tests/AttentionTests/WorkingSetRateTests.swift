import Attention
import AttentionTestSupport
import MachineTopology
import Testing

@Suite struct WorkingSetRateTests {
  @Test(arguments: [1, 2, 3])
  func readsWhatThereIsAndNoMore(threads: Int) throws {
    let team = try WorkerTeam(threads: threads)
    let tensors = try [3, 0, 50].map { try Tensor(TensorShape(1, 1, max($0, 1), 7)) }
    for bytes in [4, 100, 10_000] {
      #expect(try #require(WorkingSetRate(tensors, byteCount: bytes).rate(on: team)) > 0)
    }
    #expect(WorkingSetRate(tensors, byteCount: 3).rate(on: team) == nil)
    #expect(WorkingSetRate([], byteCount: 100).rate(on: team) == nil)
    for bytes in [4, 4096] {
      #expect(try #require(WorkingSetRate(stateBytes: bytes).rate(on: team)) > 0)
    }
    #expect(try WorkingSetRate(stateBytes: 0).rate(on: team) == nil)
  }
}

/// The keys that some query reads, counted pair by pair.
@Suite struct MinimumBytesTests {
  @Test(arguments: Specimen.all)
  func onlyKeysThatSomeQuerySeesMustMove(_ specimen: Specimen) throws {
    guard specimen.isSoftmax else { return }
    for number in 0..<25 {
      let test = try TestCase(number)
      let (problem, shape) = (test.problem, test.problem.shape)
      let unread = (0..<shape.batch).reduce(0) { sum, batch in
        let pattern = specimen.strategy.pattern(for: problem.geometry(batch: batch))
        let geometry = pattern.geometry
        let read = (0..<geometry.keyLength).count { key in
          (0..<geometry.queryLength).contains {
            pattern.includes(position: $0 + geometry.offset, key: key)
          }
        }
        return sum + geometry.keyLength - read
      }
      let work = try specimen.strategy.work(for: problem, threads: test.threads)
      let row = 4 * shape.kvHeads * (shape.headDim + shape.valueDim)
      #expect(work.minimumBytes == problem.minimumBytes - unread * row, "\(test)")
    }
  }

  @Test func aWindowDecodesItsOwnKeysOnly() throws {
    let problem = try AttentionProblem(
      AttentionShape(heads: 8, kvHeads: 2, queryLength: 1, keyLength: 5000, headDim: 16),
      visibility: Visibility(causal: true))
    let work = try Specimen.registry.strategy("window(100)").work(for: problem, threads: 1)
    #expect(work.minimumBytes == 4 * 16 * (2 * 8 + 2 * 2 * 100))
  }

  @Test func aStepMovesItsStateTwice() throws {
    let problem = try AttentionProblem(
      AttentionShape(heads: 8, kvHeads: 2, queryLength: 1, keyLength: 5000, headDim: 16),
      visibility: Visibility(causal: true))
    let work = try Specimen.registry.strategy("gated").stepWork(for: problem, threads: 1)
    #expect(work.stateBytes == 4 * 2 * 16 * 16)
    #expect(work.minimumBytes == 2 * work.stateBytes + 4 * 16 * (2 * 8 + 2 * 2))
  }
}
