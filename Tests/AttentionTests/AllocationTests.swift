import Attention
import AttentionTestSupport
import CAllocationCounter
import Testing

#if canImport(Glibc)
  import Glibc

  /// Running a plan allocates nothing, on any thread.
  ///
  /// In a process of its own, since the counter sees all threads.
  @Suite struct AllocationTests {
    @Test func runningAPlanAllocatesNothing() async {
      await #expect(processExitsWith: .success) {
        allocation_counter_start()
        let tensor = try Tensor(TensorShape(1, 1, 10, 10))
        #expect(allocation_counter_stop() == 2, "a tensor is an object and its elements")
        #expect(tensor.elements.allSatisfy { $0 == 0 })
        for specimen in Specimen.all {
          for number in [2, 3, 7, 10, 21, 40, 602, 604, 607, 611] {
            let isMasked = number > 600 && specimen.servesMasks
            let test = try TestCase(number)
            let problem = isMasked ? try MaskTests.masked(number).problem : test.problem
            let count = try AllocationCount.ofRun(
              specimen.strategy, problem, test.inputs(), test.outputs())
            #expect(count == 0, "\(specimen.text): \(count) allocations in \(test)")
          }
          // A few query rows of a growing cache.
          let cache = try AttentionProblem(
            AttentionShape(heads: 4, kvHeads: 2, queryLength: 3, keyLength: 3000, headDim: 16),
            scoring: Scoring(sinkLogits: specimen.isSoftmax ? [0, 1, 2, 3] : nil),
            visibility: Visibility(causal: true))
          let takesKeyLengths = try specimen.strategy.plan(for: cache, on: Teams.of(2))
            .takesKeyLengths
          let count = try AllocationCount.ofRun(
            specimen.strategy, cache, TestInputs(cache, seed: 1), TestOutputs(cache)
          ) { operands in
            if takesKeyLengths { operands.keyLengths = [2049] }
          }
          #expect(count == 0, "\(specimen.text): \(count) allocations of a growing cache")
          for (number, elements) in StorageTests.choices.enumerated() {
            let count = try AllocationCount.ofRun(
              specimen.strategy, TestCase(number), storing: elements, seed: number)
            #expect(count == 0, "\(specimen.text): \(count) allocations, \(elements)")
          }
        }
      }
    }

    /// Neither does taking in a token, where a strategy's plans take key lengths, nor appending.
    @Test func decodingAllocatesNothing() async {
      await #expect(processExitsWith: .success) {
        let whole = try AttentionProblem(
          AttentionShape(batch: 2, heads: 4, kvHeads: 2, queryLength: 40, headDim: 16),
          visibility: Visibility(causal: true))
        let inputs = TestInputs(whole, seed: 1)
        let (key, value) = (inputs.key.view, inputs.value.view)
        for kind in CacheKind.allCases {
          for elementType in ElementType.allCases {
            let cache = try kind.make(CacheShape(whole.shape), capacity: 90, elementType)
            try (cache as? ContiguousCache)?.reserve(90)
            let counts = [40, 17]
            try cache.append(key: key, value: value, counts: counts)
            allocation_counter_start()
            try cache.append(key: key, value: value, counts: counts)
            try cache.truncate(entry: 0, to: 0)
            let count = allocation_counter_stop()
            #expect(count == 0, "\(kind) of \(elementType): \(count) allocations")
          }
        }
        for specimen in Specimen.all {
          let problem = try DecodeRun.problem(of: whole)
          let plan = try specimen.strategy.plan(for: problem, on: Teams.of(2))
          let isRecurrent = try specimen.naive(for: problem) != nil
          guard plan.takesKeyLengths || isRecurrent else { continue }
          // A pattern from outside may look its sequences up in an array that it makes.
          if specimen.strategy is BlockDiagonalAttention { continue }
          let decoder = try specimen.strategy.decoder(for: problem, on: Teams.of(2))
          let outputs = TestOutputs(problem)
          let one = TestInputs(problem, seed: 2)
          let key = try TestTensor(TensorShape(2, 2, 1, 16))
          key.fill { _, _, _, column in Float(column) }
          var operands = outputs.operands(one)
          operands.key = key.view
          operands.value = key.view
          let ragged = [1, 0]
          try decoder.step(operands, newTokens: nil)
          try decoder.step(operands, newTokens: ragged)
          allocation_counter_start()
          for _ in 0..<5 {
            try decoder.step(operands, newTokens: nil)
            try decoder.step(operands, newTokens: ragged)
          }
          let count = allocation_counter_stop()
          #expect(count == 0, "\(specimen.text): \(count) allocations in 10 steps")
        }
      }
    }
  }
#endif
